using Kedge.Host.ConfigurationFiles;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;
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
        var options = ServerOptions.From(invocation.Flags);
        var errors = new List<string>(FlagChecks.Errors(invocation.Flags));
        var files = ServerFiles.Of(options);
        CertificateStore? certificates = null;
        if (options.Listeners.HasTls)
        {
            if (TlsFiles.Load(options.Tls, out var problems) is { } identity)
            {
                certificates = new(identity);
            }
            errors.AddRange(problems);
        }
        var configuration = ConfigurationLoader.Load(options.Configuration, out var mistakes);
        errors.AddRange(mistakes);
        if (errors.Count > 0 || configuration is null)
        {
            return invocation.Refuse(errors);
        }

        var shipper = LoggingSetup.CreateShipper(options.Logging);
        using var loggers = LoggingSetup.CreateFactory(options.Logging, shipper);
        var logger = loggers.CreateLogger<ServeCommand>();
        logger.LogInformation("kedge {Version}", BuildInfo.Version);
        foreach (var line in ConfigurationLoader.Absent(options.Configuration))
        {
            logger.LogInformation("{Note}", line);
        }
        var ignored = FlagCatalogue.WithoutEffect.Where(invocation.Flags.IsGiven).Select(flag => flag.ToString()).ToArray();
        if (ignored.Length > 0)
        {
            logger.LogWarning("accepted without effect: {Flags}", string.Join(", ", ignored));
        }
        foreach (var warning in ConfigurationWarnings.Of(configuration))
        {
            logger.LogWarning("{Warning}", warning);
        }
        await using var server = new KedgeServer(
            options, invocation.Flags, new ServerStart(configuration, certificates, files), loggers, shipper);
        return await ServerRun.UntilSignalAsync(server, logger);
    }
}
