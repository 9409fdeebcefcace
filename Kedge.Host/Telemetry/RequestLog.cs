namespace Kedge.Host.Telemetry;

/// <summary>
/// The log lines of requests: one for each that kedge failed, and one for every request where that is asked for.
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
        var rule = record.Rule?.Info.Rule ?? "";
        var backend = record.Backend?.Name ?? record.Rule?.Info.BackendName ?? "";
        var endpoint = record.Endpoint?.ToString() ?? "";
        var milliseconds = Math.Round(record.Total.TotalMilliseconds, 1);
        if (record.Failure is { } failure)
        {
            logger.Log(
                level,
                record.Cause,
                "request failed: {Method} {Host}{Path}: {ErrorType}: {Reason}; rule {Rule}, backend {Backend}, endpoint {Endpoint}, "
                + "status {Status}, {Attempts} attempts, {Milliseconds} ms, request {RequestId}",
                record.Method, record.Authority, record.Path, failure.Type, failure.Reason, rule, backend, endpoint, record.Status,
                record.Attempts, milliseconds, record.RequestId);
        }
        else
        {
            logger.Log(
                level,
                "request {Outcome}: {Method} {Host}{Path}; rule {Rule}, backend {Backend}, endpoint {Endpoint}, status {Status}, "
                + "{Attempts} attempts, {Milliseconds} ms, request {RequestId}",
                record.CallerLeft ? "left by its caller" : "done",
                record.Method, record.Authority, record.Path, rule, backend, endpoint, record.Status, record.Attempts, milliseconds,
                record.RequestId);
        }
    }
}
