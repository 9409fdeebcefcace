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
        var endpoint = record.Endpoints;
        var milliseconds = Math.Round(record.Total.TotalMilliseconds, 1);
        object?[] asked = isAskedFor ? [record.InfoLogs] : [];
        if (record.Failure is { } failure)
        {
            object?[] values =
            [
                record.Method, record.Authority, record.Path, failure.Type, failure.Reason, route, rule,
                record.BackendName, endpoint, record.Status, record.Attempts, milliseconds, record.RequestId, .. asked,
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
                OutcomeOf(record),
                record.Method, record.Authority, record.Path, route, rule, record.BackendName, endpoint,
                record.Status, record.Attempts, milliseconds, record.RequestId, .. asked,
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

    private static string OutcomeOf(RequestRecord record)
    {
        var outcome = record.CallerLeft ? "abandoned by the caller" : "completed";
        return record.ShadowLimit is { } limit
            ? $"{outcome}, beyond the rate limit {limit}, which is in shadow mode"
            : outcome;
    }
}
