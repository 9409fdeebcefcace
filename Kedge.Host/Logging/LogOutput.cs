using Kedge.Host.Flags;

namespace Kedge.Host.Logging;

/// <summary>
/// Logging as the flags configure it: one line per event on standard error, and over TCP if requested. Logs kedge's own
/// events from the configured level, and framework events only from warning, except at level debug. Disposing of it
/// flushes pending lines.
/// </summary>
public sealed class LogOutput : IDisposable
{
    private readonly StandardErrorLog _standardError;
    private readonly LogShipper? _shipper;
    private readonly ILoggerFactory _factory;

    /// <param name="options">The logging flags.</param>
    /// <param name="ships">Whether to send lines to logstash too, if the flags name it.</param>
    public LogOutput(LoggingOptions options, bool ships = false)
    {
        _standardError = new(options.Format);
        _shipper = ships && options.Logstash is { } target ? new LogShipper(target, options) : null;
        _factory = LoggerFactory.Create(builder =>
        {
            SetLevels(builder, options.Level);
            builder.AddProvider(_standardError);
            if (_shipper is not null)
            {
                builder.AddProvider(_shipper);
            }
        });
        _shipper?.ReportTo(_factory.CreateLogger("kedge.logstash"));
    }

    public ILoggerFactory Loggers => _factory;

    /// <summary>
    /// How many lines were dropped, on standard error or on the way to logstash, because there was no room.
    /// </summary>
    public long DroppedLines => _standardError.Dropped + (_shipper?.Dropped ?? 0);

    public void Dispose()
    {
        _factory.Dispose();
        _shipper?.Dispose();
        _standardError.Dispose();
    }

    private static void SetLevels(ILoggingBuilder builder, LogVerbosity verbosity)
    {
        var level = verbosity switch
        {
            LogVerbosity.Debug => LogLevel.Debug,
            LogVerbosity.Info => LogLevel.Information,
            LogVerbosity.Warning => LogLevel.Warning,
            LogVerbosity.Error => LogLevel.Error,
            _ => throw new ArgumentOutOfRangeException(nameof(verbosity), verbosity, null),
        };
        var framework = level == LogLevel.Debug
            ? LogLevel.Debug
            : (LogLevel)Math.Max((int)level, (int)LogLevel.Warning);
        builder.SetMinimumLevel(level);
        builder.AddFilter("Microsoft", framework);
        builder.AddFilter("System", framework);
        // The proxy itself reports failed exchanges, with their route and backend.
        builder.AddFilter("Yarp", level == LogLevel.Debug ? LogLevel.Debug : LogLevel.Error);
        // The server warns that it would speak HTTP/1.1 alone on the plain-HTTP listener (ClearHttp2).
        builder.AddFilter(
            "Microsoft.AspNetCore.Server.Kestrel", level == LogLevel.Debug ? LogLevel.Debug : LogLevel.Error);
        builder.AddFilter("Microsoft.AspNetCore.Server.Kestrel.", framework);
        // A listener that cannot be opened gets one line of kedge's own.
        builder.AddFilter(
            "Microsoft.Extensions.Hosting.Internal.Host", level == LogLevel.Debug ? LogLevel.Debug : LogLevel.Critical);
        // While a logger for this category is enabled, hosting creates an activity and a scope for every request.
        builder.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
        // A host that does not start throws, and the caller logs that.
        builder.AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
    }
}
