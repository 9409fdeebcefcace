using System.Net;
using Kedge.Wire.Loops;

namespace Kedge.Wire.Sockets;

/// <summary>
/// A bidirectional byte stream to a peer: a TCP connection, or TLS over one. One reader and one writer may use it at
/// the same time. Operations complete synchronously whenever they can.
/// </summary>
public abstract class ByteChannel : IAsyncDisposable
{
    /// <summary>The protocol that ALPN negotiated (<c>h2</c>, <c>http/1.1</c>); null = none.</summary>
    public virtual string? ApplicationProtocol => null;

    /// <summary>The event loop that serves the connection; null when none does.</summary>
    public virtual EventLoop? Loop => null;

    /// <summary>
    /// Whether code that awaits the connection continues on a pool thread rather than on the event loop's thread. For
    /// work that takes long or might block, such as TLS handshakes that verify certificates.
    /// </summary>
    public virtual bool ContinuesOnPool
    {
        get => true;
        set
        {
        }
    }

    /// <summary>
    /// Whether a read may complete at once; false when it would wait, or when that is not known. Cheaper than a read
    /// into an empty buffer, which is exact.
    /// </summary>
    public virtual bool MayBeReadable => false;

    /// <summary>
    /// Reads at least one byte. With an empty buffer, waits until bytes or the end can be read, and returns 0.
    /// </summary>
    /// <returns>The number of bytes; 0 when the peer has ended the stream.</returns>
    /// <exception cref="IOException">The connection was reset or aborted.</exception>
    /// <exception cref="OperationCanceledException">The operation was canceled.</exception>
    public abstract ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancel = default);

    /// <summary>Writes all the bytes. The buffer may be reused when this completes.</summary>
    /// <exception cref="IOException">The connection was reset or aborted.</exception>
    /// <exception cref="OperationCanceledException">The operation was canceled; the channel can no longer be used.
    /// </exception>
    public abstract ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default);

    /// <summary>
    /// Closes the connection now. Operations in progress fail with an <see cref="IOException"/>. Can be called at any
    /// time, from any thread, more than once; never throws.
    /// </summary>
    public abstract void Abort();

    /// <summary>Closes the connection and releases its resources.</summary>
    public abstract ValueTask DisposeAsync();
}

/// <summary>Opens a TCP connection.</summary>
/// <exception cref="IOException">No connection could be made; the cause is a
/// <see cref="System.Net.Sockets.SocketException"/>.</exception>
public delegate ValueTask<ByteChannel> ChannelConnect(EndPoint address, CancellationToken cancel);
