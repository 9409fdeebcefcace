using Kedge.Host.Flags;
using Microsoft.Extensions.Logging.Console;

namespace Kedge.Host.Telemetry;

/// <summary>Sets up logging: one line per event on standard error, our own words at the level asked for, the frameworks' from warning.</summary>
public static class LoggingSetup
{
    /// <param name="options">What the flags say of logging.</param>
    /// <param name="shipper">Null = lines go to standard error only.</param>
    public static ILoggerFactory CreateFactory(LoggingOptions options, LogShipper? shipper = null)
    {
        var factory = LoggerFactory.Create(builder =>
        {
            Configure(builder, options);
            if (shipper is not null)
            {
                builder.AddProvider(shipper);
            }
        });
        shipper?.ReportTo(factory.CreateLogger("kedge.logstash"));
        return factory;
    }

    /// <summary>Null when the flags ask for none.</summary>
    public static LogShipper? CreateShipper(LoggingOptions options) =>
        options.LogstashHostPort.Length == 0 ? null : new LogShipper(options);

    private static void Configure(ILoggingBuilder builder, LoggingOptions options)
    {
        var level = options.Level switch
        {
            LogVerbosity.Debug => LogLevel.Debug,
            LogVerbosity.Info => LogLevel.Information,
            LogVerbosity.Warning => LogLevel.Warning,
            LogVerbosity.Error => LogLevel.Error,
            _ => throw new ArgumentOutOfRangeException(nameof(options), options.Level, null),
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

        var json = options.Format == LogFormat.Json || (options.Format == LogFormat.Auto && Console.IsErrorRedirected);
        builder.AddConsole(console =>
        {
            console.FormatterName = json ? JsonLogFormatter.FormatterName : TextLogFormatter.FormatterName;
            console.LogToStandardErrorThreshold = LogLevel.Trace;
        });
        builder.AddConsoleFormatter<TextLogFormatter, ConsoleFormatterOptions>();
        builder.AddConsoleFormatter<JsonLogFormatter, ConsoleFormatterOptions>();
    }
}
