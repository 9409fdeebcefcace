using System.Collections.Concurrent;
using Kedge.Domain;

namespace Kedge.Host.Telemetry;

/// <summary>
/// The counters of the routes of one name and protocol that have several backends. They live as long as the process;
/// there is one for each route name that was ever configured, with an entry for each of its backends.
/// </summary>
public sealed class SplitCounters(Protocol protocol, string route)
{
    private readonly ConcurrentDictionary<string, CodeCounts> _backends = new();
    private long _missing;

    public KeyValuePair<string, object?>[] Labels { get; } =
        [new("protocol", protocol.Section), new("route", route)];

    /// <summary>The requests without the key that decides the split.</summary>
    public long MissingKeys => Volatile.Read(ref _missing);

    /// <summary>The completed requests of each backend, by status.</summary>
    public IEnumerable<(string Backend, string Code, long Count)> All() =>
        from backend in _backends
        from entry in backend.Value.All()
        select (backend.Key, entry.Code, entry.Count);

    public void Missing() => Interlocked.Increment(ref _missing);

    /// <summary>A request has ended.</summary>
    public void Count(string backend, int status) =>
        _backends.GetOrAdd(backend, static (_, protocol) => new CodeCounts(protocol), protocol).Count(status);
}
