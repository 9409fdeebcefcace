using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Kedge.Host.Telemetry;

namespace Kedge.Winch.Proxying;

/// <summary>One request, for the status page.</summary>
internal sealed record Passed(DateTimeOffset At, string Method, string Authority, string Route, string Kedge, int Status, string Error);

/// <summary>Counts requests, and keeps the latest.</summary>
internal sealed class WinchMetrics
{
    // Hosts choose kedges, so their number has a bound.
    private const int MostSeries = 1000;

    private readonly ConcurrentDictionary<(string Route, string Kedge, string Protocol, string Code), StrongBox> _requests = new();
    private readonly ConcurrentDictionary<string, StrongBox> _errors = new();

    public Recent<Passed> Latest { get; } = new(50);

    public void Count(string route, string kedge, bool isGrpc, string code)
    {
        var key = (route, kedge, isGrpc ? "grpc" : "http", code);
        if (!_requests.ContainsKey(key) && _requests.Count >= MostSeries)
        {
            key = ("other", "other", key.Item3, code);
        }
        Interlocked.Increment(ref _requests.GetOrAdd(key, static _ => new()).Value);
    }

    public void CountError(string type) => Interlocked.Increment(ref _errors.GetOrAdd(type, static _ => new()).Value);

    /// <summary>Prometheus' text format.</summary>
    /// <param name="state">For the tokens' ends.</param>
    public string Render(WinchState state)
    {
        var text = new StringBuilder();
        text.Append("# HELP kedge_winch_requests_total Requests by route, kedge, protocol and code.\n# TYPE kedge_winch_requests_total counter\n");
        foreach (var (key, value) in _requests.OrderBy(pair => pair.Key))
        {
            text.Append(CultureInfo.InvariantCulture,
                $"kedge_winch_requests_total{{route=\"{key.Route}\",kedge=\"{key.Kedge}\",protocol=\"{key.Protocol}\",code=\"{key.Code}\"}} {value.Value}\n");
        }
        text.Append("# HELP kedge_winch_errors_total Answers of winch itself, by type.\n# TYPE kedge_winch_errors_total counter\n");
        foreach (var (type, value) in _errors.OrderBy(pair => pair.Key))
        {
            text.Append(CultureInfo.InvariantCulture, $"kedge_winch_errors_total{{type=\"{type}\"}} {value.Value}\n");
        }
        text.Append("# HELP kedge_winch_token_refreshes_total Tokens fetched, by source and result.\n# TYPE kedge_winch_token_refreshes_total counter\n");
        foreach (var source in state.Logins)
        {
            text.Append(CultureInfo.InvariantCulture, $"kedge_winch_token_refreshes_total{{source=\"{source.Name}\",result=\"ok\"}} {source.Refreshes}\n");
            text.Append(CultureInfo.InvariantCulture, $"kedge_winch_token_refreshes_total{{source=\"{source.Name}\",result=\"error\"}} {source.FailedRefreshes}\n");
        }
        text.Append("# HELP kedge_winch_token_expiry_timestamp_seconds When the token of a source ends.\n# TYPE kedge_winch_token_expiry_timestamp_seconds gauge\n");
        foreach (var source in state.Logins)
        {
            if (source.ExpiresAt is { } end)
            {
                text.Append(CultureInfo.InvariantCulture, $"kedge_winch_token_expiry_timestamp_seconds{{source=\"{source.Name}\"}} {end.ToUnixTimeSeconds()}\n");
            }
        }
        return text.ToString();
    }

    internal sealed class StrongBox
    {
        public long Value;
    }
}
