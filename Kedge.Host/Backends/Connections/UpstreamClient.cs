using System.Collections.Concurrent;
using System.Net;
using System.Runtime.CompilerServices;
using Kedge.Domain;
using Kedge.Wire.Http2;
using Kedge.Wire.Loops;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Backends.Connections;

/// <summary>
/// The connections to all endpoints of the backends that have the same TLS settings and protocol: one pool for each
/// endpoint, regardless of the hosts of the requests.
/// </summary>
internal sealed class UpstreamClient : IDisposable
{
    /// <summary>The time limit for a connection, including the TLS handshake.</summary>
    public static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan TrimInterval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan MaxUnused = TimeSpan.FromSeconds(60);

    private readonly Connector _connector;
    private readonly UpstreamLimits _limits;
    private readonly ConcurrentDictionary<PoolKey, UpstreamPool> _pools = new();
    private readonly Timer _trimming;
    private volatile bool _isDisposed;

    /// <param name="tls">Null for plain text.</param>
    /// <param name="protocol">The protocol of its requests.</param>
    /// <param name="limits">Shared by all clients.</param>
    /// <param name="loops">The event loops that serve the connections; null = the platform's sockets do.</param>
    public UpstreamClient(UpstreamTls? tls, Protocol protocol, UpstreamLimits limits, EventLoops? loops)
    {
        IsTls = tls is not null;
        Protocol = protocol;
        _connector = new Connector(tls, loops);
        _limits = limits;
        _trimming = new Timer(static client => ((UpstreamClient)client!).Trim(), this, TrimInterval, TrimInterval);
    }

    public bool IsTls { get; }

    public Protocol Protocol { get; }

    /// <summary>The scheme of requests to the backends.</summary>
    public string Scheme => IsTls ? "https" : "http";

    /// <summary>The current connections and requests, for metrics.</summary>
    public PoolCounts Count() =>
        _pools.Values.Aggregate(default(PoolCounts), static (sum, pool) => sum + pool.Count());

    /// <summary>
    /// Sends a request to an endpoint. gRPC uses HTTP/2, and plain-text HTTP uses HTTP/1.1. HTTP over TLS uses the
    /// version that ALPN negotiates, except that an upgrade uses HTTP/1.1.
    /// </summary>
    /// <param name="onNewConnection">Whether the connection must not have carried a request before.</param>
    /// <param name="observer">Observes a connection that is opened for this request.</param>
    /// <inheritdoc cref="IUpstreamConnection.SendAsync"/>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<UpstreamResponse> SendAsync(
        Endpoint endpoint,
        UpstreamRequest request,
        bool onNewConnection,
        ConnectionObserver observer,
        CancellationToken cancel)
    {
        var address = endpoint.Resolved.Address;
        var key = new PoolKey(
            address, _connector.NameFor(address, endpoint.Resolved.DnsName), IsTls && request.Upgrade is not null);
        while (true)
        {
            var pool = _pools.TryGetValue(key, out var known) ? known : Add(key);
            if (await pool.SendAsync(request, onNewConnection, observer, cancel) is { } response)
            {
                return response;
            }
            // The pool was removed concurrently.
            _pools.TryRemove(new(key, pool));
        }
    }

    /// <summary>Closes idle connections now, and busy ones when their requests have ended.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        _trimming.Dispose();
        foreach (var (key, pool) in _pools)
        {
            _pools.TryRemove(key, out _);
            pool.Retire();
        }
    }

    private UpstreamPool Add(PoolKey key)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return _pools.GetOrAdd(key, Create);
    }

    private UpstreamPool Create(PoolKey key)
    {
        var mayBeHttp2 = Protocol.IsGrpc || (IsTls && !key.IsUpgrade);
        var opener = new ConnectionOpener
        {
            Open = (near, cancel) => _connector.OpenAsync(
                key.Address, key.TlsName, offerHttp2: mayBeHttp2, offerHttp11: Protocol.IsHttp, near, cancel),
            StartHttp2 = mayBeHttp2 ? StartHttp2Async : null,
            IsHttp2Only = Protocol.IsGrpc,
            Http1 = _limits.Http1,
        };
        return new UpstreamPool(opener, _limits.Pool, _limits.Budget);
    }

    private async ValueTask<IUpstreamConnection> StartHttp2Async(
        Wire.Sockets.ByteChannel channel,
        IConnectionOwner owner,
        ConnectionObserver observer,
        CancellationToken cancel) =>
        await Http2Connection.StartAsync(channel, _limits.Http2, owner, observer, cancel);

    private void Trim()
    {
        foreach (var (key, pool) in _pools)
        {
            pool.Trim();
            if (pool.TryRemove(MaxUnused))
            {
                _pools.TryRemove(new(key, pool));
            }
        }
    }

    /// <summary>What makes connections interchangeable.</summary>
    /// <param name="TlsName">Empty for plain text.</param>
    /// <param name="IsUpgrade">Whether HTTP/2 must not be negotiated.</param>
    private readonly record struct PoolKey(IPEndPoint Address, string TlsName, bool IsUpgrade);
}
