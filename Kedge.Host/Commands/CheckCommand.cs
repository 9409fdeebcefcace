using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>Decodes, validates and analyses the configuration.</summary>
public sealed class CheckCommand : ICommand
{
    private const int OnlyWarnings = 2;

    private static readonly Flag<bool> Strict = new()
    {
        Name = "strict",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "exits with 2 if there are warnings but no errors",
    };

    private static readonly Flag<bool> RequireAuthorization = new()
    {
        Name = "require_authorization",
        Aliases = ["require-authorization"],
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "reports routes and ad-hoc rules that anyone may use as errors; add the server's flags for tokens "
            + "and client certificates",
    };

    private static readonly Flag<bool> NetworksSuffice = new()
    {
        Name = "networks_suffice",
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "with --require_authorization: a route that only admits its client_networks is not open",
    };

    public string Name => "check";

    public string Summary => "reports errors and surprises in the two configuration files";

    public string Notes =>
        "With the certificates of the server, it also reports hosts without a certificate, and certificates that are "
        + "wrong, unused or about to expire. Each finding comes with its file and line and, where possible, a request "
        + "that demonstrates it, as arguments for kedge explain. Exits with 0 if there are no errors, with 1 if there "
        + "are, and with --strict with 2 if there are only warnings.";

    public IReadOnlyList<string> Examples =>
    [
        "kedge check --kedge_config_director_config_path=director.json "
            + "--kedge_config_backendpool_config_path=backendpool.json",
        "kedge check --strict --output=json --kedge_config_director_config_path=director.json",
        "kedge check --server_tls_cert_dirs=certs --kedge_config_director_config_path=director.json",
        "kedge check --require_authorization --server_tls_client_ca_files=ca.crt "
            + "--kedge_config_director_config_path=director.json",
    ];

    public bool TakesServerFlags => true;

    public IEnumerable<Flag> Flags =>
    [
        Strict,
        RequireAuthorization,
        NetworksSuffice,
        Report.Format,
        CertificateFlags.Now,
        .. FlagCatalogue.Of(FlagGroup.Configuration, FlagGroup.Authorization),
        .. CertificateFlags.OfServer,
        FlagCatalogue.ClientCaFiles,
        FlagCatalogue.ClientCertRequired,
        FlagCatalogue.HttpPlainPort,
        FlagCatalogue.HttpPlainDefault,
        FlagCatalogue.HttpPlainRedirectPort,
    ];

    public Task<int> RunAsync(Invocation invocation) => Task.FromResult(Run(invocation));

    private static int Run(Invocation invocation)
    {
        string[] misuse = [.. FlagChecks.Combinations(invocation.Flags)];
        if (misuse.Length > 0)
        {
            return invocation.Refuse(misuse);
        }
        var files = ConfigurationLoader.Load(
            ConfigurationOptions.From(invocation.Flags), out IReadOnlyList<string> unreadable, out var errors);
        var configuration = files is null ? null : Configuration.Build(files);
        var findings = configuration is null ? [] : Findings(configuration, invocation.Flags);
        var report = new CheckReport(configuration, unreadable, errors, findings);
        report.Write(invocation);
        return report.Errors > 0 ? ExitCodes.Failure
            : report.Warnings > 0 && invocation.Flags.Get(Strict) ? OnlyWarnings
            : ExitCodes.Success;
    }

    private static Finding[] Findings(Configuration configuration, FlagValues flags)
    {
        var plain = flags.Get(FlagCatalogue.HttpPlainPort) == 0
            ? PlainDefault.AnswerNoRoute
            : ForwardingOptions.PlainDefaultOf(flags);
        IEnumerable<Finding> findings =
        [
            .. RedirectLoop.Findings(configuration, plain),
            .. PlainRoutes.Findings(configuration, flags.Get(RequireAuthorization)),
            .. Networks.Findings(configuration),
            .. Check.Findings(configuration),
            .. RetryFindings.Findings(configuration),
            .. LimitFindings.Findings(configuration),
            .. IssuerFindings.Findings(configuration, Authorizer.IssuerOf(AuthorizationOptions.From(flags))),
            .. CertificateFlags.Read(flags) is { } read
                ? CertificateFindings.Findings(configuration, read.Certificates, read.Rejected)
                : [],
            .. SplitFindings.Findings(configuration),
        ];
        // The sort is stable.
        findings = findings.OrderByDescending(finding => finding.Severity);
        if (!flags.Get(RequireAuthorization))
        {
            return [.. findings];
        }
        var tls = TlsOptions.From(flags);
        var open = Exposure.Findings(
            configuration,
            Authorizer.DemandsOf(AuthorizationOptions.From(flags)),
            tls is { ClientCaFiles.Count: > 0, ClientCertRequired: true },
            flags.Get(NetworksSuffice));
        return [.. open, .. findings];
    }
}
