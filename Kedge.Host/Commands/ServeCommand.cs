using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;
using Kedge.Host.Logging;
using Kedge.Host.Server;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Commands;

/// <summary>Runs the proxy.</summary>
public sealed class ServeCommand : ICommand
{
    public string Name => "serve";

    public string Summary => "runs the proxy";

    public IEnumerable<Flag> Flags => FlagCatalogue.All;

    public async Task<int> RunAsync(Invocation invocation)
    {
        using var ignored = IgnoredSignals.ForServers();
        var options = ServerOptions.From(invocation.Flags);
        var errors = new List<string>(FlagChecks.Errors(invocation.Flags));
        // After the flag checks, so that a typo leaves no files behind.
        var made = errors.Count == 0 && options.Listeners.HasTls
            ? DevelopmentCertificates.MakeAbsent(options.Tls, TimeProvider.System)
            : null;
        var files = ServerFiles.Of(options);
        // In parallel: loading certificates reads the system's trust store, the longest single step of a start.
        var loadingTls = options.Listeners.HasTls
            ? Task.Run(() => (Identity: TlsFiles.Load(options.Tls, out var problems), problems))
            : null;
        var configuration = ConfigurationLoader.Load(options.Configuration, out var mistakes);
        CertificateStore? certificates = null;
        if (loadingTls is not null)
        {
            var (identity, problems) = await loadingTls;
            certificates = identity is null ? null : new(identity, options.Tls.StrictSni);
            errors.AddRange(problems);
        }
        errors.AddRange(mistakes);
        if (OpenFiles.OfProcess() is { Limit: < OpenFiles.LeastLimit } open)
        {
            errors.Add(
                $"the limit on open files (ulimit -n) is {open.Limit}; kedge needs at least {OpenFiles.LeastLimit}");
        }
        if (errors.Count > 0 || configuration is null)
        {
            return invocation.Refuse(made is null ? errors : [made, .. errors]);
        }
        files.Configuration.Include(configuration.Bodies);

        using var logging = new LogOutput(options.Logging, ships: true);
        var logger = logging.Loggers.CreateLogger<ServeCommand>();
        logger.LogInformation("kedge {Version}", BuildInfo.Version);
        if (made is not null)
        {
            logger.LogWarning("{Note}", made);
        }
        foreach (var line in ConfigurationLoader.Absent(options.Configuration))
        {
            logger.LogInformation("{Note}", line);
        }
        string[] withoutEffect =
            [.. FlagCatalogue.WithoutEffect.Where(invocation.Flags.IsGiven).Select(flag => $"{flag}")];
        if (withoutEffect.Length > 0)
        {
            logger.LogWarning("accepted without effect: {Flags}", string.Join(", ", withoutEffect));
        }
        await using var server = new KedgeServer(
            options, invocation.Flags, new ServerStart(configuration, certificates, files), logging);
        return await ServerRun.UntilSignalAsync(server, logger);
    }
}
