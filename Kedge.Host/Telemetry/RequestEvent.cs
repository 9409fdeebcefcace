using System.Collections;
using System.Globalization;
using System.Text;

namespace Kedge.Host.Telemetry;

/// <summary>
/// A request as a log event: a line for people, which leaves out empty parts, and fields for machines, which keep
/// empty values.
/// </summary>
internal sealed class RequestEvent : IReadOnlyList<KeyValuePair<string, object?>>
{
    /// <summary>The line of an event.</summary>
    public static readonly Func<RequestEvent, Exception?, string> Text = static (self, _) => self.ToString();

    private readonly RequestRecord _record;
    private readonly string _outcome;
    private readonly string _route;
    private readonly string _rule;
    private readonly double _milliseconds;
    private readonly List<KeyValuePair<string, object?>> _fields = new(14);

    public RequestEvent(RequestRecord record)
    {
        _record = record;
        _outcome = OutcomeOf(record);
        _route = record.Rule?.Info.Name ?? "";
        _rule = record.Rule?.Info.Rule ?? "";
        _milliseconds = Math.Round(record.Total.TotalMilliseconds, 1);
        if (record.Failure is null)
        {
            Add("Outcome", _outcome);
        }
        Add("Method", record.Method);
        Add("Host", record.Authority);
        Add("Path", record.Path);
        if (record.Failure is { } failure)
        {
            Add("ErrorType", failure.Type);
            Add("Reason", failure.Reason);
        }
        Add("Route", _route);
        Add("Rule", _rule);
        Add("Backend", record.BackendName);
        Add("Endpoint", record.Endpoints);
        Add("Status", record.Status);
        Add("Attempts", record.Attempts);
        Add("Milliseconds", _milliseconds);
        Add("RequestId", record.RequestId);
        if (record.InfoLogs.Length > 0)
        {
            Add("InfoLogs", record.InfoLogs);
        }
    }

    public int Count => _fields.Count;

    public KeyValuePair<string, object?> this[int index] => _fields[index];

    public IEnumerator<KeyValuePair<string, object?>> GetEnumerator() => _fields.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString()
    {
        var text = new StringBuilder(200);
        text.Append("request ").Append(_outcome).Append(": ").Append(_record.Describe());
        if (_record.Failure is { } failure)
        {
            text.Append(": ").Append(failure.Type).Append(": ").Append(failure.Reason);
        }
        text.Append("; ");
        Append(text, "route ", _route);
        Append(text, "rule ", _rule);
        Append(text, "backend ", _record.BackendName);
        Append(text, "endpoint ", _record.Endpoints);
        text.Append(
            CultureInfo.InvariantCulture,
            $"status {_record.Status}, {_record.Attempts} {(_record.Attempts == 1 ? "attempt" : "attempts")}, ");
        text.Append(CultureInfo.InvariantCulture, $"{_milliseconds} ms, request {_record.RequestId}");
        if (_record.InfoLogs.Length > 0)
        {
            text.Append(", asked for by ").Append(_record.InfoLogs);
        }
        return text.ToString();
    }

    private static void Append(StringBuilder text, string name, string value)
    {
        if (value.Length > 0)
        {
            text.Append(name).Append(value).Append(", ");
        }
    }

    private static string OutcomeOf(RequestRecord record)
    {
        if (record.Failure is not null)
        {
            return "failed";
        }
        var outcome = record.CallerLeft ? "abandoned by the caller" : "completed";
        return record.ShadowLimit is { } limit
            ? $"{outcome}, beyond the rate limit {limit}, which is in shadow mode"
            : outcome;
    }

    private void Add(string name, object value) => _fields.Add(new(name, value));
}
