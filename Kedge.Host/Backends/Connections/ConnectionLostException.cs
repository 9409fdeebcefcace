namespace Kedge.Host.Backends.Connections;

/// <summary>
/// A connection to an endpoint ended while an answer was awaited. Not an <see cref="IOException"/> on purpose: the handler
/// would take that for leave to send the request again by itself, up to three times.
/// </summary>
/// <param name="connection">Not null when a write failed: what the other side sent before can still be read.</param>
internal sealed class ConnectionLostException(bool reused, bool nothingSent, TrackedConnection? connection, Exception? cause)
    : Exception("the connection closed before an answer came", cause)
{
    /// <summary>The connection had carried an exchange before, so the endpoint may just have closed it for being idle.</summary>
    public bool Reused { get; } = reused;

    public TrackedConnection? Connection { get; } = connection;

    /// <summary>No byte of the request was sent.</summary>
    public bool NothingSent { get; } = nothingSent;

    /// <summary>The one in the chain of causes, if any.</summary>
    public static ConnectionLostException? In(Exception? exception)
    {
        for (var e = exception; e is not null; e = e.InnerException)
        {
            if (e is ConnectionLostException lost)
            {
                return lost;
            }
        }
        return null;
    }
}
