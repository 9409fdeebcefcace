using System.Net;
using System.Text;
using Kedge.Domain;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Backends.Connections;

/// <summary>The connections to all endpoints of the backends that have the same TLS settings and protocol.</summary>
internal sealed class UpstreamClient : IDisposable
{
    // The forwarder's own timeout would cut quiet streams; exchanges have their own.
    private static readonly ForwarderRequestConfig Http11 = new()
    {
        ActivityTimeout = Timeout.InfiniteTimeSpan,
        Version = HttpVersion.Version11,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
    };

    private static readonly ForwarderRequestConfig Http2 = Http11 with { Version = HttpVersion.Version20 };

    private static readonly ForwarderRequestConfig Negotiated =
        Http2 with { VersionPolicy = HttpVersionPolicy.RequestVersionOrLower };

    private readonly Lazy<HttpMessageInvoker> _newConnection;

    /// <param name="tls">Null for plain text.</param>
    /// <param name="protocol">The protocol of its requests.</param>
    public UpstreamClient(UpstreamTls? tls, Protocol protocol)
    {
        IsTls = tls is not null;
        Protocol = protocol;
        Pooled = new HttpMessageInvoker(CreateHandler(tls, protocol));
        _newConnection = new Lazy<HttpMessageInvoker>(() =>
        {
            var handler = CreateHandler(tls, protocol);
            handler.PooledConnectionLifetime = TimeSpan.Zero;
            return new HttpMessageInvoker(handler);
        });
    }

    public bool IsTls { get; }

    public Protocol Protocol { get; }

    /// <summary>Sends requests on pooled connections.</summary>
    public HttpMessageInvoker Pooled { get; }

    /// <summary>Sends each request on a new connection.</summary>
    public HttpMessageInvoker NewConnection => _newConnection.Value;

    /// <summary>Gives the forwarder the scheme. The authority is replaced in each attempt.</summary>
    public string DestinationPrefix => IsTls ? "https://kedge" : "http://kedge";

    /// <summary>
    /// The HTTP version: for gRPC always HTTP/2; for HTTP in plain text HTTP/1.1; over TLS what ALPN negotiates, but
    /// HTTP/1.1 for an upgrade.
    /// </summary>
    public ForwarderRequestConfig ConfigFor(bool isUpgrade) =>
        Protocol.IsGrpc ? Http2 : IsTls && !isUpgrade ? Negotiated : Http11;

    public void Dispose()
    {
        Pooled.Dispose();
        if (_newConnection.IsValueCreated)
        {
            _newConnection.Value.Dispose();
        }
    }

    private static SocketsHttpHandler CreateHandler(UpstreamTls? tls, Protocol protocol)
    {
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            // Trace headers are forwarded, or replaced by the exchange, not by the handler.
            ActivityHeadersPropagator = null,
            EnableMultipleHttp2Connections = true,
            ConnectTimeout = Connector.ConnectTimeout,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
            // Longer than the 5 minutes that grpc-go servers require between pings by default.
            KeepAlivePingDelay = TimeSpan.FromSeconds(310),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            // Non-ASCII bytes are forwarded unchanged.
            RequestHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ResponseHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ConnectCallback = new Connector(tls, http2Only: protocol.IsGrpc).ConnectAsync,
            PlaintextStreamFilter = static (context, _) => ValueTask.FromResult(
                context.NegotiatedHttpVersion.Major == 1
                    ? new TrackedConnection(context.PlaintextStream)
                    : context.PlaintextStream),
        };
        return handler;
    }
}

/// <summary>
/// Shares clients, one for each TLS configuration and protocol, and disposes of those that are no longer used.
/// </summary>
internal sealed class UpstreamClients : IDisposable
{
    // An exchange may have chosen a client just before the last backend that uses it was removed.
    private static readonly TimeSpan Linger = TimeSpan.FromSeconds(60);

    private readonly Lock _lock = new();
    private readonly Dictionary<(UpstreamTls?, Protocol), Entry> _entries = [];

    public UpstreamClient Acquire(UpstreamTls? tls, Protocol protocol)
    {
        var key = (tls, protocol);
        lock (_lock)
        {
            if (!_entries.TryGetValue(key, out var entry))
            {
                _entries[key] = entry = new Entry(new UpstreamClient(tls, protocol));
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
                _ = DisposeLaterAsync(key, entry);
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

    private async Task DisposeLaterAsync((UpstreamTls?, Protocol) key, Entry entry)
    {
        await Task.Delay(Linger);
        lock (_lock)
        {
            if (entry.Holders == 0 && _entries.GetValueOrDefault(key) == entry)
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
    }
}
