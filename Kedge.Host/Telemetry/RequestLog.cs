namespace Kedge.Host.Telemetry;

/// <summary>
/// Logs requests: those that kedge failed, and on demand all. At level debug, all are logged.
/// </summary>
public sealed class RequestLog(ILogger logger, bool logsAll)
{
    public void Write(RequestRecord record)
    {
        var level = record.Failure is not null || logsAll || record.IsWatched ? LogLevel.Information : LogLevel.Debug;
        if (!logger.IsEnabled(level))
        {
            return;
        }
        var route = record.Rule?.Info.Name ?? "";
        var rule = record.Rule?.Info.Rule ?? "";
        var endpoint = record.Endpoint ?? "";
        var milliseconds = Math.Round(record.Total.TotalMilliseconds, 1);
        if (record.Failure is { } failure)
        {
            logger.Log(
                level,
                record.Cause,
                "request failed: {Method} {Host}{Path}: {ErrorType}: {Reason}; route {Route}, rule {Rule}, "
                + "backend {Backend}, endpoint {Endpoint}, status {Status}, {Attempts} attempts, {Milliseconds} ms, "
                + "request {RequestId}",
                record.Method, record.Authority, record.Path, failure.Type, failure.Reason, route, rule, record.BackendName,
                endpoint, record.Status, record.Attempts, milliseconds, record.RequestId);
        }
        else
        {
            logger.Log(
                level,
                "request {Outcome}: {Method} {Host}{Path}; route {Route}, rule {Rule}, backend {Backend}, "
                + "endpoint {Endpoint}, status {Status}, {Attempts} attempts, {Milliseconds} ms, request {RequestId}",
                record.CallerLeft ? "abandoned by the caller" : "completed",
                record.Method, record.Authority, record.Path, route, rule, record.BackendName, endpoint, record.Status,
                record.Attempts, milliseconds, record.RequestId);
        }
    }
}
