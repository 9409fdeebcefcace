using Kedge.Host.Resolvers;

namespace Kedge.Host.Commands;

/// <summary>Prints a resolver's results: endpoints when they change, and failures when the reason changes.</summary>
internal sealed class EndpointPrinter(string title, TextWriter output, TextWriter error, bool withTime) : IEndpointSink
{
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private HashSet<ResolvedEndpoint>? _known;
    private bool _areTerminating;
    private DateTimeOffset _resolvedAt;
    private string? _lastError;

    /// <summary>Completes with the first answer or failure.</summary>
    public Task First => _first.Task;

    public bool HasEndpoints => _known is { Count: > 0 };

    private string Prefix => withTime ? $"{DateTimeOffset.UtcNow:yyyy-MM-ddTHH:mm:ssZ} {title}" : title;

    public void Resolved(IReadOnlyList<ResolvedEndpoint> endpoints, bool areTerminating = false)
    {
        var now = new HashSet<ResolvedEndpoint>(endpoints);
        _resolvedAt = DateTimeOffset.UtcNow;
        if (_known is null || _lastError is not null || areTerminating != _areTerminating || !_known.SetEquals(now))
        {
            var count = now.Count == 1 ? "1 endpoint" : $"{now.Count} endpoints";
            var kind = areTerminating ? ", terminating" : "";
            // A single write, because several targets print at the same time.
            output.Write($"{Prefix}: {count}{kind}\n{string.Concat(Lines(now))}");
            output.Flush();
        }
        _known = now;
        _areTerminating = areTerminating;
        _lastError = null;
        _first.TrySetResult();
    }

    public void Missing(string reason)
    {
        Resolved([]);
        Failed(reason);
    }

    public void Failed(string reason)
    {
        if (_lastError != reason)
        {
            var kept = HasEndpoints
                ? $"; the endpoints from {(int)(DateTimeOffset.UtcNow - _resolvedAt).TotalSeconds} s ago stay in use"
                : "";
            error.WriteLine($"{Prefix}: {reason}{kept}");
            error.Flush();
        }
        _lastError = reason;
        _first.TrySetResult();
    }

    private static IEnumerable<string> Lines(IEnumerable<ResolvedEndpoint> endpoints) =>
        from endpoint in endpoints
        let address = endpoint.Address.ToString()
        orderby endpoint.Rank.Priority, address
        let rank = endpoint.Rank is { Priority: 0, Weight: 0 }
            ? ""
            : $"  priority {endpoint.Rank.Priority} weight {endpoint.Rank.Weight}"
        let name = endpoint.DnsName.Length == 0 || endpoint.DnsName == endpoint.Address.Address.ToString()
            ? ""
            : $"  {endpoint.DnsName}"
        select $"  {address}{rank}{name}\n";
}
