using System.Net;
using System.Text;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Backends.Connections;

/// <summary>The connections of one TLS identity and protocol, to whatever endpoints, shared by the backends that have both.</summary>
internal sealed class UpstreamClient : IDisposable
{
    // YARP's own limit would cut quiet streams; exchanges have limits of their own.
    private static readonly ForwarderRequestConfig Http11 = new()
    {
        ActivityTimeout = Timeout.InfiniteTimeSpan,
        Version = HttpVersion.Version11,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
    };

    private static readonly ForwarderRequestConfig Http2 = Http11 with { Version = HttpVersion.Version20 };

    private static readonly ForwarderRequestConfig Negotiated = Http2 with { VersionPolicy = HttpVersionPolicy.RequestVersionOrLower };

    private readonly Lazy<HttpMessageInvoker> _fresh;

    public UpstreamClient(TlsIdentity? tls, bool isGrpc, TimeSpan connectTimeout)
    {
        IsTls = tls is not null;
        IsGrpc = isGrpc;
        Shared = new HttpMessageInvoker(MakeHandler(tls, isGrpc, connectTimeout));
        _fresh = new Lazy<HttpMessageInvoker>(() =>
        {
            var handler = MakeHandler(tls, isGrpc, connectTimeout);
            handler.PooledConnectionLifetime = TimeSpan.Zero;
            return new HttpMessageInvoker(handler);
        });
    }

    public bool IsTls { get; }

    public bool IsGrpc { get; }

    /// <summary>Sends on a connection that may have been used before.</summary>
    public HttpMessageInvoker Shared { get; }

    /// <summary>Sends on a connection of its own.</summary>
    public HttpMessageInvoker Fresh => _fresh.Value;

    /// <summary>Where YARP takes the scheme from; the rest is put in place for each try.</summary>
    public string DestinationPrefix => IsTls ? "https://kedge" : "http://kedge";

    /// <summary>gRPC: HTTP/2 always. HTTP: HTTP/1.1 in plain text, over TLS what ALPN yields, but an upgrade needs HTTP/1.1.</summary>
    public ForwarderRequestConfig ConfigFor(bool isUpgrade) =>
        IsGrpc ? Http2 : IsTls && !isUpgrade ? Negotiated : Http11;

    public void Dispose()
    {
        Shared.Dispose();
        if (_fresh.IsValueCreated)
        {
            _fresh.Value.Dispose();
        }
    }

    private static SocketsHttpHandler MakeHandler(TlsIdentity? tls, bool isGrpc, TimeSpan connectTimeout)
    {
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            // The caller's trace headers pass as they are; kedge is no hop in a trace.
            ActivityHeadersPropagator = null,
            EnableMultipleHttp2Connections = true,
            ConnectTimeout = connectTimeout,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
            // Longer than the five minutes that grpc-go's servers demand between pings by default.
            KeepAlivePingDelay = TimeSpan.FromSeconds(310),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            // Bytes beyond ASCII pass as they came.
            RequestHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ResponseHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ConnectCallback = new Connector(tls, isGrpc).ConnectAsync,
            PlaintextStreamFilter = static (context, _) => ValueTask.FromResult(
                context.NegotiatedHttpVersion.Major == 1 ? new TrackedConnection(context.PlaintextStream) : context.PlaintextStream),
        };
        return handler;
    }
}

/// <summary>Hands out clients, one for each TLS identity and protocol, and releases those that nobody holds any more.</summary>
internal sealed class UpstreamClients(TimeSpan connectTimeout) : IDisposable
{
    // Exchanges that have picked a client just before its last backend went still need it.
    private static readonly TimeSpan Linger = TimeSpan.FromSeconds(60);

    private readonly Lock _lock = new();
    private readonly Dictionary<(TlsIdentity?, bool), Entry> _entries = [];

    public UpstreamClient Acquire(TlsIdentity? tls, bool isGrpc)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue((tls, isGrpc), out var entry))
            {
                _entries[(tls, isGrpc)] = entry = new Entry(new UpstreamClient(tls, isGrpc, connectTimeout));
            }
            entry.Holders++;
            return entry.Client;
        }
    }

    public void Release(TlsIdentity? tls, bool isGrpc)
    {
        lock (_lock)
        {
            var entry = _entries[(tls, isGrpc)];
            if (--entry.Holders == 0)
            {
                _ = DisposeLaterAsync((tls, isGrpc), entry);
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

    private async Task DisposeLaterAsync((TlsIdentity?, bool) key, Entry entry)
    {
        await Task.Delay(Linger);
        lock (_lock)
        {
            if (entry.Holders == 0 && _entries.GetValueOrDefault(key) == entry)
            {
                _entries.Remove(key);
                // Streams that are open on its connections finish; only idle connections are closed.
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
