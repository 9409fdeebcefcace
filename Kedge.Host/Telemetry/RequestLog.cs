namespace Kedge.Host.Telemetry;

/// <summary>
/// Logs requests: those that kedge failed, and on demand all. At level debug, all are logged.
/// </summary>
public sealed class RequestLog(ILogger logger, bool logsAll)
{
    private const string Failed =
        "request failed: {Method} {Host}{Path}: {ErrorType}: {Reason}; route {Route}, rule {Rule}, "
        + "backend {Backend}, endpoint {Endpoint}, status {Status}, {Attempts} attempts, {Milliseconds} ms, "
        + "request {RequestId}";
    private const string Ended =
        "request {Outcome}: {Method} {Host}{Path}; route {Route}, rule {Rule}, backend {Backend}, "
        + "endpoint {Endpoint}, status {Status}, {Attempts} attempts, {Milliseconds} ms, request {RequestId}";
    private const string AskedBy = ", asked for by {InfoLogs}";
    private const string Limited = ", beyond the rate limit {RateLimit}, which is in shadow mode";

    public void Write(RequestRecord record)
    {
        var isAskedFor = record.InfoLogs.Length > 0;
        var level = record.Failure is { IsOfFlood: false } || logsAll || isAskedFor
            ? LogLevel.Information
            : LogLevel.Debug;
        if (!logger.IsEnabled(level))
        {
            return;
        }
        var route = record.Rule?.Info.Name ?? "";
        var rule = record.Rule?.Info.Rule ?? "";
        var endpoint = record.Endpoint ?? "";
        var milliseconds = Math.Round(record.Total.TotalMilliseconds, 1);
        object?[] asked = isAskedFor ? [record.InfoLogs] : [];
        object?[] more = record.ShadowLimit is { } limit ? [.. asked, limit] : asked;
        var ending = (isAskedFor ? AskedBy : "") + (record.ShadowLimit is null ? "" : Limited);
        if (record.Failure is { } failure)
        {
            object?[] values =
            [
                record.Method, record.Authority, record.Path, failure.Type, failure.Reason, route, rule,
                record.BackendName, endpoint, record.Status, record.Attempts, milliseconds, record.RequestId, .. more,
            ];
            if (isAskedFor)
            {
                logger.Log(level, record.Cause, Failed + AskedBy, values);
            }
            else
            {
                logger.Log(level, record.Cause, Failed, values);
            }
        }
        else
        {
            object?[] values =
            [
                record.CallerLeft ? "abandoned by the caller" : "completed",
                record.Method, record.Authority, record.Path, route, rule, record.BackendName, endpoint,
                record.Status, record.Attempts, milliseconds, record.RequestId, .. more,
            ];
            if (isAskedFor)
            {
                logger.Log(level, Ended + AskedBy, values);
            }
            else
            {
                logger.Log(level, Ended, values);
            }
        }
    }
}
