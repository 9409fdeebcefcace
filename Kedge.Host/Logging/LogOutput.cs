using Kedge.Host.Flags;

namespace Kedge.Host.Logging;

/// <summary>
/// Logging as the flags say: one line per event on standard error, and by TCP where that is asked for. Our own words at the level
/// asked for, the frameworks' from warning. Ends, and writes what still waits, when it is disposed of.
/// </summary>
public sealed class LogOutput : IDisposable
{
    private readonly StandardErrorLog _standardError;
    private readonly LogShipper? _shipper;
    private readonly ILoggerFactory _factory;

    /// <param name="options">What the flags say of logging.</param>
    /// <param name="ships">Whether lines are also sent to where the flags say.</param>
    public LogOutput(LoggingOptions options, bool ships = false)
    {
        _standardError = new(options.Format);
        _shipper = ships && options.LogstashHostPort.Length > 0 ? new LogShipper(options) : null;
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

    /// <summary>Lines that found no room, here or there.</summary>
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
        var framework = level == LogLevel.Debug ? LogLevel.Debug : (LogLevel)Math.Max((int)level, (int)LogLevel.Warning);
        builder.SetMinimumLevel(level);
        builder.AddFilter("Microsoft", framework);
        builder.AddFilter("System", framework);
        // A failed exchange is the proxy's to report, with its route and backend.
        builder.AddFilter("Yarp", level == LogLevel.Debug ? LogLevel.Debug : LogLevel.Error);
        // A listener that cannot be opened is told in one line of our own.
        builder.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", level == LogLevel.Debug ? LogLevel.Debug : LogLevel.Critical);
        // While a logger for it is on, hosting makes an activity and a scope for every request.
        builder.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
        // A host that does not start tells its caller, and the caller logs it.
        builder.AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
    }
}
