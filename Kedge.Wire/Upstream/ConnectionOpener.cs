using System.Diagnostics;
using Kedge.Wire.Http1;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;

namespace Kedge.Wire.Upstream;

/// <summary>Opens a channel to an endpoint: TCP, or TLS over it.</summary>
/// <param name="near">The event loop of the caller that needs it; null = none.</param>
public delegate ValueTask<ByteChannel> OpenChannel(EventLoop? near, CancellationToken cancel);

/// <summary>Starts HTTP/2 on a channel: completes when the endpoint's settings have arrived.</summary>
public delegate ValueTask<IUpstreamConnection> StartHttp2(
    ByteChannel channel, IConnectionOwner owner, ConnectionObserver observer, CancellationToken cancel);

/// <summary>Opens the connections of a pool.</summary>
public sealed class ConnectionOpener
{
    /// <summary>Opens the channels.</summary>
    public required OpenChannel Open { get; init; }

    /// <summary>Null when the endpoint is never reached over HTTP/2.</summary>
    public StartHttp2? StartHttp2 { get; init; }

    /// <summary>
    /// Whether the endpoint is reached only over HTTP/2, even when ALPN negotiated nothing. Otherwise ALPN decides, and
    /// HTTP/1.1 is the default.
    /// </summary>
    public bool IsHttp2Only { get; init; }

    public Http1Options Http1 { get; init; } = new();

    public bool MayBeHttp2 => StartHttp2 is not null;

    /// <summary>Opens a connection.</summary>
    /// <param name="timeout">The time limit, including all handshakes.</param>
    /// <param name="near">See <see cref="OpenChannel"/>.</param>
    /// <exception cref="UpstreamException">
    /// Opening failed (<see cref="FailureKind.Connect"/>); the cause says why.
    /// </exception>
    public async Task<IUpstreamConnection> OpenAsync(
        IConnectionOwner owner, ConnectionObserver observer, TimeSpan timeout, EventLoop? near)
    {
        using var limit = new CancellationTokenSource(timeout);
        var started = Stopwatch.GetTimestamp();
        observer.Dialing();
        ByteChannel? channel = null;
        try
        {
            channel = await Open(near, limit.Token);
            var isHttp2 = channel.ApplicationProtocol is { } negotiated
                ? negotiated == "h2" && StartHttp2 is not null
                : IsHttp2Only;
            if (IsHttp2Only && !isHttp2)
            {
                throw new IOException("the endpoint does not offer HTTP/2");
            }
            IUpstreamConnection connection = isHttp2
                ? await StartHttp2!(channel, owner, observer, limit.Token)
                : new Http1Connection(channel, Http1, owner);
            observer.Dialed(Stopwatch.GetElapsedTime(started));
            return connection;
        }
        catch (Exception e)
        {
            channel?.Abort();
            var cause = e is OperationCanceledException ? new TimeoutException("the connection timed out", e) : e;
            observer.DialFailed(cause);
            throw new UpstreamException(FailureKind.Connect, SentState.NothingSent, cause.Message, cause);
        }
    }
}
