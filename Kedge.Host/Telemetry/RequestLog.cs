namespace Kedge.Host.Telemetry;

/// <summary>
/// Logs requests: those that kedge failed, except for rate limits, and others on demand. At level debug, logs all.
/// </summary>
public sealed class RequestLog(ILogger logger, bool logsAll)
{
    public void Write(RequestRecord record)
    {
        var level = record.Failure is { IsOfFlood: false } || logsAll || record.InfoLogs.Length > 0
            ? LogLevel.Information
            : LogLevel.Debug;
        if (logger.IsEnabled(level))
        {
            var cause = record.Failure is null ? null : record.Cause;
            logger.Log(level, default, new RequestEvent(record), cause, RequestEvent.Text);
        }
    }
}
