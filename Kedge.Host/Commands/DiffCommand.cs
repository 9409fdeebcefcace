using Kedge.Domain;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;

namespace Kedge.Host.Commands;

/// <summary>Shows what a new configuration changes for requests.</summary>
public sealed class DiffCommand : ICommand
{
    private static readonly Flag<bool> ExitCode = new()
    {
        Name = "exit_code",
        Aliases = ["exit-code"],
        Group = FlagGroup.Command,
        Type = FlagTypes.Switch,
        Default = false,
        Help = "exits with 1 if there are differences",
    };

    private static readonly Flag<DeniedChange> Deny = new()
    {
        Name = "deny",
        Group = FlagGroup.Command,
        Type = FlagTypes.OneOf<DeniedChange>(),
        Default = DeniedChange.None,
        Help = "exits with 1 if a route admits callers whom the old configuration did not admit",
    };

    private enum DeniedChange
    {
        None,
        Loosened,
    }

    private static readonly Flag<string> OldPoolPath = new()
    {
        Name = "old_backendpool_config_path",
        Group = FlagGroup.Command,
        Type = FlagTypes.File,
        Default = "",
        Help = "backend pool of the old configuration, if it differs; backends are then compared as well",
    };

    private static readonly Flag<IReadOnlyList<string>> OldCertDirs = new()
    {
        Name = "old_server_tls_cert_dirs",
        Group = FlagGroup.Command,
        Type = FlagTypes.Files,
        Default = [],
        Help = "directories with the certificates of the old server; certificates are then compared as well",
    };

    private static readonly Flag<string> OldCertFile = new()
    {
        Name = "old_server_tls_cert_file",
        Group = FlagGroup.Command,
        Type = FlagTypes.File,
        Default = "",
        DefaultHelp = "that of the new server",
        Help = "default certificate of the old server",
    };

    private static readonly Flag<string> OldKeyFile = new()
    {
        Name = "old_server_tls_key_file",
        Group = FlagGroup.Command,
        Type = FlagTypes.File,
        Default = "",
        DefaultHelp = "that of the new server",
        Help = "private key of the default certificate of the old server",
    };

    public string Name => "diff";

    public string Summary => "shows what a new director.json changes, with requests that now go elsewhere";

    public string Notes =>
        "Compares meaning, not text: a new order that moves no request is not a difference. "
        + "Compares certificates only if those of both servers are given. "
        + "Exits with 0, or with 2 if a configuration is invalid. With --exit_code it exits with 1 if there are "
        + "differences, and with --deny=loosened if access is loosened.";

    public IReadOnlyList<string> Arguments => ["old director.json", "new director.json"];

    public IReadOnlyList<string> Examples =>
    [
        "kedge diff old/director.json new/director.json",
        "kedge diff --exit_code --output=json old/director.json new/director.json",
        "kedge diff --deny=loosened old/director.json new/director.json",
        "kedge diff old/director.json new/director.json --old_backendpool_config_path=old/backendpool.json "
            + "--kedge_config_backendpool_config_path=new/backendpool.json",
        "kedge diff director.json director.json --old_server_tls_cert_dirs=old/certs --server_tls_cert_dirs=new/certs",
    ];

    public bool TakesServerFlags => true;

    public IEnumerable<Flag> Flags =>
    [
        ExitCode,
        Deny,
        Report.Format,
        OldPoolPath,
        FlagCatalogue.PoolConfigPath,
        FlagCatalogue.PoolConfig,
        OldCertDirs,
        OldCertFile,
        OldKeyFile,
        CertificateFlags.Now,
        .. CertificateFlags.OfServer,
    ];

    public Task<int> RunAsync(Invocation invocation) => Task.FromResult(Run(invocation));

    private static int Run(Invocation invocation)
    {
        var flags = invocation.Flags;
        var pool = ConfigurationOptions.From(flags);
        var oldPool = flags.Get(OldPoolPath) is { Length: > 0 } path ? pool with { Pool = "", PoolPath = path } : pool;
        List<string> errors = [.. FlagChecks.Combinations(flags)];
        var before = Load(oldPool, invocation.Arguments[0], errors);
        var after = Load(pool, invocation.Arguments[1], errors);
        if (errors.Count > 0 || before is null || after is null)
        {
            return invocation.Refuse(errors.Distinct());
        }
        IReadOnlyList<Difference> differences = DiffReport.Differences(before, after);
        var certificates = CertificateDifferences(before, after, invocation, errors, out var missing);
        if (errors.Count > 0)
        {
            return invocation.Refuse(errors);
        }
        differences = [.. differences, .. certificates ?? []];
        if (Report.IsJson(invocation))
        {
            WriteJson(invocation.Output, differences, certificates is not null);
        }
        else
        {
            WriteText(invocation.Output, invocation.Paint, differences, missing);
        }
        var isDenied = flags.Get(Deny) == DeniedChange.Loosened
            && differences.Any(static difference => difference.Kind == "access-loosened");
        return isDenied || (differences.Count > 0 && flags.Get(ExitCode)) ? ExitCodes.Failure : ExitCodes.Success;
    }

    private static Configuration? Load(ConfigurationOptions pool, string directorPath, List<string> errors)
    {
        var options = pool with { Director = "", DirectorPath = directorPath };
        var files = ConfigurationLoader.Load(options, out var mistakes);
        errors.AddRange(mistakes);
        return files is null ? null : Configuration.Build(files);
    }

    /// <summary>The differences between the certificates; null when those of one server are not given.</summary>
    /// <param name="before">The old configuration.</param>
    /// <param name="after">The new configuration.</param>
    /// <param name="invocation">The command's invocation.</param>
    /// <param name="errors">Receives a line for each file or directory that does not exist.</param>
    /// <param name="missing">The flags of which one is missing, if only one server's certificates are given.</param>
    private static IReadOnlyList<Difference>? CertificateDifferences(
        Configuration before, Configuration after, Invocation invocation, List<string> errors, out string missing)
    {
        missing = "";
        var flags = invocation.Flags;
        var isOldGiven = flags.IsGiven(OldCertDirs) || flags.IsGiven(OldCertFile);
        if (!isOldGiven || !CertificateFlags.AreGiven(flags))
        {
            if (isOldGiven || CertificateFlags.AreGiven(flags))
            {
                missing = isOldGiven
                    ? $"{FlagCatalogue.CertDirs} or {FlagCatalogue.CertFile}"
                    : $"{OldCertDirs} or {OldCertFile}";
            }
            return null;
        }
        var options = TlsOptions.From(flags);
        var oldOptions = options with
        {
            CertDirs = flags.Get(OldCertDirs),
            CertFile = flags.Get(OldCertFile) is { Length: > 0 } file ? file : options.CertFile,
            KeyFile = flags.Get(OldKeyFile) is { Length: > 0 } key ? key : options.KeyFile,
        };
        // Without a default certificate on one side, the other side's would be compared with nothing.
        var hasDefault = flags.IsGiven(FlagCatalogue.CertFile);
        var now = CertificateFlags.TimeOf(flags);
        var was = CertificateFlags.Read(oldOptions, hasDefault, now);
        var current = CertificateFlags.Read(options, hasDefault, now);
        // Files that do not exist here cannot be compared.
        errors.AddRange(
            from one in was.Rejected.Concat(current.Rejected)
            where one.Fault.IsAbsent
            select $"{one.Source}: {one.Problem}");
        if (errors.Count == 0)
        {
            was.WriteProblems(invocation);
            current.WriteProblems(invocation);
        }
        return CertificateDiff.Differences(before, after, was.Certificates, current.Certificates);
    }

    private static void WriteText(
        TextWriter output, Paint paint, IReadOnlyList<Difference> differences, string missing)
    {
        foreach (var difference in differences)
        {
            output.WriteLine(difference.Kind);
            if (difference.Before.Length > 0)
            {
                output.WriteLine(paint.Red($"  - {difference.Before}"));
            }
            if (difference.After.Length > 0)
            {
                output.WriteLine(paint.Green($"  + {difference.After}"));
            }
            if (difference.Witness.Length > 0)
            {
                output.WriteLine($"    {difference.Witness}");
            }
            if (difference.Caller.Length > 0)
            {
                output.WriteLine(paint.Faint(
                    $"      {difference.Caller}: {difference.WitnessBefore} → {difference.WitnessAfter}"));
            }
            else if (difference.Witness.Length > 0)
            {
                output.WriteLine(paint.Faint($"      went to {difference.WitnessBefore}"));
                output.WriteLine(paint.Faint($"      goes to {difference.WitnessAfter}"));
            }
        }
        if (missing.Length > 0)
        {
            output.WriteLine(paint.Yellow($"certificates are left out: {missing} is missing"));
        }
        var moving = differences.Count(difference => difference is { Witness.Length: > 0, Caller.Length: 0 });
        output.WriteLine(
            differences.Count == 0 ? paint.Green("no difference")
            : $"{differences.Count} difference{(differences.Count == 1 ? "" : "s")}, "
                + $"{moving} with requests that go elsewhere");
    }

    private static void WriteJson(
        TextWriter output, IReadOnlyList<Difference> differences, bool areCertificatesCompared) =>
        Report.WriteJson(output, new
        {
            CertificatesCompared = areCertificatesCompared,
            Differences = differences.Select(difference => new
            {
                difference.Kind,
                Before = Text(difference.Before),
                After = Text(difference.After),
                Request = Text(difference.Witness),
                RequestBefore = Text(difference.WitnessBefore),
                RequestAfter = Text(difference.WitnessAfter),
                Caller = Text(difference.Caller),
            }),
        });

    private static string? Text(string text) => text.Length == 0 ? null : text;
}
