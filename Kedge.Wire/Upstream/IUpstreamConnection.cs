using Kedge.Wire.Loops;

namespace Kedge.Wire.Upstream;

/// <summary>A connection that carries requests: one at a time with HTTP/1.1, several with HTTP/2.</summary>
public interface IUpstreamConnection
{
    /// <summary>
    /// How many requests it can accept in addition to the current ones; 0 when it accepts no more at all.
    /// </summary>
    int FreeStreams { get; }

    /// <summary>The number of requests in flight and reserved places.</summary>
    int ActiveStreams { get; }

    /// <summary>
    /// When it became idle, as <see cref="Environment.TickCount64"/>; null while it has a request.
    /// </summary>
    long? IdleSince { get; }

    /// <summary>
    /// How long it may stay idle according to the endpoint (Keep-Alive: timeout), in milliseconds; null = the endpoint
    /// sets no limit.
    /// </summary>
    long? MaxIdle { get; }

    /// <summary>The event loop that serves it; null = none.</summary>
    EventLoop? Loop => null;

    /// <summary>Reserves a place for one request, to be used by <see cref="SendAsync"/>.</summary>
    /// <returns>False when there is none, or when the connection turns out to be closed.</returns>
    bool TryReserve();

    /// <summary>Sends a request, for which a place was reserved, and reads the head of its response.</summary>
    /// <param name="cancel">Cancels the exchange until the response has been read to its end.</param>
    /// <exception cref="UpstreamException">The attempt failed.</exception>
    /// <exception cref="OperationCanceledException">The exchange was canceled.</exception>
    ValueTask<UpstreamResponse> SendAsync(UpstreamRequest request, CancellationToken cancel);

    /// <summary>Stops accepting requests, and closes when the current ones have ended.</summary>
    void Retire();
}

/// <summary>
/// The owner of a connection. Called from any thread, not under a lock of the connection; the methods must return soon.
/// </summary>
public interface IConnectionOwner
{
    /// <summary>The connection can accept a request, and could not before.</summary>
    void Available(IUpstreamConnection connection);

    /// <summary>The connection accepts no more requests. Called once; requests in flight may continue.</summary>
    void Retired(IUpstreamConnection connection);

    /// <summary>
    /// The connection has closed. Called once; another thread may still be about to call <see cref="Retired"/>.
    /// </summary>
    void Closed(IUpstreamConnection connection);
}

/// <summary>Observes connections, for metrics. All members may be called from any thread.</summary>
public abstract class ConnectionObserver
{
    /// <summary>Observes nothing.</summary>
    public static readonly ConnectionObserver None = new Nothing();

    /// <summary>A connection is about to be opened.</summary>
    public virtual void Dialing()
    {
    }

    /// <summary>A connection was opened.</summary>
    /// <param name="duration">The time that TCP, TLS and the HTTP/2 settings took.</param>
    public virtual void Dialed(TimeSpan duration)
    {
    }

    /// <summary>A connection could not be opened.</summary>
    public virtual void DialFailed(Exception cause)
    {
    }

    /// <summary>An opened connection was closed.</summary>
    public virtual void ConnectionClosed()
    {
    }

    /// <summary>A stream was reset.</summary>
    /// <param name="code">The error code (RFC 9113, 7).</param>
    /// <param name="byPeer">Whether the endpoint reset it; otherwise this side did.</param>
    public virtual void StreamReset(uint code, bool byPeer)
    {
    }

    /// <summary>The endpoint sent a GOAWAY.</summary>
    public virtual void GoAway(uint code)
    {
    }

    private sealed class Nothing : ConnectionObserver
    {
    }
}
