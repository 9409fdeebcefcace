using Kedge.Domain;
using Kedge.Wire.Loops;

namespace Kedge.Host.Backends.Connections;

/// <summary>
/// Shares clients, one for each TLS configuration and protocol, and disposes of those that are no longer used.
/// </summary>
internal sealed class UpstreamClients : IDisposable
{
    // An exchange may have chosen a client just before the last backend that uses it was removed.
    private static readonly TimeSpan Linger = TimeSpan.FromSeconds(60);

    private readonly Lock _lock = new();
    private readonly Dictionary<(UpstreamTls?, Protocol), Entry> _entries = [];
    private readonly UpstreamLimits _limits;
    private readonly EventLoops? _loops;
    private readonly PerProtocol<UpstreamClient> _plain;

    /// <param name="limits">Shared by all clients.</param>
    /// <param name="loops">The event loops that serve the connections; null = the platform's sockets do.</param>
    public UpstreamClients(UpstreamLimits limits, EventLoops? loops)
    {
        _limits = limits;
        _loops = loops;
        _plain = PerProtocol.Init(protocol => Acquire(null, protocol));
    }

    /// <summary>All clients, for metrics.</summary>
    public IReadOnlyList<UpstreamClient> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _entries.Values.Select(entry => entry.Client)];
            }
        }
    }

    /// <summary>The client for targets in plain text, which also serves ad-hoc targets.</summary>
    public UpstreamClient Plain(Protocol protocol) => _plain[protocol];

    public UpstreamClient Acquire(UpstreamTls? tls, Protocol protocol)
    {
        var key = (tls, protocol);
        lock (_lock)
        {
            if (!_entries.TryGetValue(key, out var entry))
            {
                _entries[key] = entry = new Entry(new UpstreamClient(tls, protocol, _limits, _loops));
            }
            entry.Holders++;
            return entry.Client;
        }
    }

    public void Release(UpstreamTls? tls, Protocol protocol)
    {
        var key = (tls, protocol);
        lock (_lock)
        {
            var entry = _entries[key];
            if (--entry.Holders == 0)
            {
                _ = DisposeLaterAsync(key, entry, ++entry.Idles);
            }
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            foreach (var entry in _entries.Values)
            {
                entry.Client.Dispose();
            }
            _entries.Clear();
        }
    }

    private async Task DisposeLaterAsync((UpstreamTls?, Protocol) key, Entry entry, int idles)
    {
        await Task.Delay(Linger);
        lock (_lock)
        {
            if (entry.Holders == 0 && entry.Idles == idles && _entries.GetValueOrDefault(key) == entry)
            {
                _entries.Remove(key);
                // Closes idle connections only; open streams can finish.
                entry.Client.Dispose();
            }
        }
    }

    private sealed class Entry(UpstreamClient client)
    {
        public UpstreamClient Client { get; } = client;

        public int Holders { get; set; }

        /// <summary>How often the last holder has left.</summary>
        public int Idles { get; set; }
    }
}
