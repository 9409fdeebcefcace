using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Kedge.Host.Telemetry;

namespace Kedge.Winch.Proxying;

/// <summary>One request, for the status page.</summary>
internal sealed record Passed(
    DateTimeOffset At, string Method, string Authority, string Route, string Kedge, int Status, string Error);

/// <summary>Counts requests, and keeps the latest.</summary>
internal sealed class WinchMetrics
{
    // Host names choose kedges, so the number of series is limited.
    private const int MostSeries = 1000;

    private readonly ConcurrentDictionary<Series, Counter> _requests = new();
    private readonly ConcurrentDictionary<string, Counter> _errors = new();

    public Recent<Passed> Latest { get; } = new(50);

    public void Count(string route, string kedge, bool isGrpc, string code)
    {
        var series = new Series(route, kedge, isGrpc ? "grpc" : "http", code);
        if (!_requests.ContainsKey(series) && _requests.Count >= MostSeries)
        {
            series = series with { Route = "other", Kedge = "other", Code = "other" };
        }
        Interlocked.Increment(ref _requests.GetOrAdd(series, static _ => new()).Value);
    }

    public void CountError(string type) => Interlocked.Increment(ref _errors.GetOrAdd(type, static _ => new()).Value);

    /// <summary>The metrics in Prometheus' text format.</summary>
    /// <param name="state">The state with the tokens.</param>
    public string Render(WinchState state)
    {
        var text = new StringBuilder();
        Begin(text, "requests_total", "counter", "Requests by route, kedge, protocol and code.");
        foreach (var (series, count) in _requests.OrderBy(pair => pair.Key.ToString(), StringComparer.Ordinal))
        {
            var labels = $"route=\"{series.Route}\",kedge=\"{series.Kedge}\",protocol=\"{series.Protocol}\"";
            Add(text, "requests_total", $"{labels},code=\"{series.Code}\"", count.Value);
        }
        Begin(text, "errors_total", "counter", "Answers of winch itself, by type.");
        foreach (var (type, count) in _errors.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            Add(text, "errors_total", $"type=\"{type}\"", count.Value);
        }
        Begin(text, "token_refreshes_total", "counter", "Refreshes of tokens, by source and result.");
        foreach (var source in state.Logins)
        {
            Add(text, "token_refreshes_total", $"source=\"{source.Name}\",result=\"ok\"", source.Refreshes);
            Add(text, "token_refreshes_total", $"source=\"{source.Name}\",result=\"error\"", source.FailedRefreshes);
        }
        Begin(text, "token_expiry_timestamp_seconds", "gauge", "When the token of a source expires.");
        foreach (var source in state.Logins)
        {
            if (source.ExpiresAt is { } end)
            {
                Add(text, "token_expiry_timestamp_seconds", $"source=\"{source.Name}\"", end.ToUnixTimeSeconds());
            }
        }
        return text.ToString();
    }

    private static void Begin(StringBuilder text, string name, string type, string help) =>
        text.Append($"# HELP kedge_winch_{name} {help}\n# TYPE kedge_winch_{name} {type}\n");

    private static void Add(StringBuilder text, string name, string labels, long value) =>
        text.Append(CultureInfo.InvariantCulture, $"kedge_winch_{name}{{{labels}}} {value}\n");

    private sealed record Series(string Route, string Kedge, string Protocol, string Code);

    private sealed class Counter
    {
        public long Value;
    }
}
