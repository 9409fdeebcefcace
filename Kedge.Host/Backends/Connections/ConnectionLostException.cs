namespace Kedge.Host.Backends.Connections;

/// <summary>
/// A connection to an endpoint closed while a response was pending. Deliberately not an <see cref="IOException"/>: the
/// handler would resend the request by itself, up to three times.
/// </summary>
/// <param name="reused">See <see cref="Reused"/>.</param>
/// <param name="nothingSent">See <see cref="NothingSent"/>.</param>
/// <param name="discardWrites">See <see cref="DiscardWrites"/>.</param>
/// <param name="cause">The error of the connection, if there was one.</param>
internal sealed class ConnectionLostException(bool reused, bool nothingSent, Action? discardWrites, Exception? cause)
    : Exception("the connection closed before a response came", cause)
{
    /// <summary>
    /// Whether the connection had carried an exchange before: the endpoint may have closed it because it was idle.
    /// </summary>
    public bool Reused { get; } = reused;

    /// <summary>Whether no byte of the request was sent.</summary>
    public bool NothingSent { get; } = nothingSent;

    /// <summary>
    /// Not null when a write failed: makes the connection ignore the rest of the request, so that a response that the
    /// endpoint sent before it closed can still be read.
    /// </summary>
    public Action? DiscardWrites { get; } = discardWrites;

    /// <summary>The first one in the chain of causes; null when there is none.</summary>
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
