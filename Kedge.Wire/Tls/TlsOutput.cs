using System.Buffers;
using System.IO.Pipelines;

namespace Kedge.Wire.Tls;

/// <summary>
/// Collects what is sent to a caller until it fills a record or is flushed, and then encrypts it straight into the
/// buffer of the transport.
/// </summary>
/// <param name="inner">The transport.</param>
/// <param name="session">Encrypts; used under its lock.</param>
internal sealed class TlsOutput(PipeWriter inner, TlsSession session) : PipeWriter
{
    // Most responses are small.
    private const int Least = 4096;

    // One writer at a time, as with every pipe.
    private byte[]? _plaintext;
    private int _length;
    private bool _isLarge;
    private bool _isCompleted;

    public override bool CanGetUnflushedBytes => true;

    public override long UnflushedBytes => _length + inner.UnflushedBytes;

    public override Memory<byte> GetMemory(int sizeHint = 0) => Room(sizeHint).AsMemory(_length);

    public override Span<byte> GetSpan(int sizeHint = 0) => Room(sizeHint).AsSpan(_length);

    public override void Advance(int bytes)
    {
        if (bytes < 0 || bytes > (_plaintext?.Length ?? 0) - _length)
        {
            throw new ArgumentOutOfRangeException(nameof(bytes), bytes, "it is more than there is room for");
        }
        _length += bytes;
    }

    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        Encrypt([]);
        _isLarge = false;
        var flush = inner.FlushAsync(cancellationToken);
        return session.IsBroken && flush.IsCompletedSuccessfully
            ? new(new FlushResult(flush.Result.IsCanceled, isCompleted: true))
            : flush;
    }

    public override ValueTask<FlushResult> WriteAsync(
        ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        if (source.Length > Least)
        {
            Encrypt(source.Span);
        }
        else
        {
            this.Write(source.Span);
        }
        return FlushAsync(cancellationToken);
    }

    public override void CancelPendingFlush() => inner.CancelPendingFlush();

    /// <summary>Encrypts what was written. Does not complete the transport: the end of the session follows.</summary>
    public override void Complete(Exception? exception = null)
    {
        Encrypt([]);
        _isCompleted = true;
    }

    public override async ValueTask CompleteAsync(Exception? exception = null)
    {
        Complete(exception);
        await inner.FlushAsync();
    }

    /// <summary>Ends the server's direction with <c>close_notify</c>. Later writes are ignored.</summary>
    public async ValueTask ShutdownAsync()
    {
        Complete();
        lock (session.Lock)
        {
            session.Shutdown(inner);
        }
        await inner.FlushAsync();
    }

    private byte[] Room(int size)
    {
        size = Math.Max(1, size);
        if (_plaintext is { } full && full.Length - _length < size)
        {
            Encrypt([]);
            _isLarge = true;
        }
        return _plaintext ??= ArrayPool<byte>.Shared.Rent(
            Math.Max(size, _isLarge ? TlsSession.MaxPlaintext : Least));
    }

    /// <summary>Encrypts the collected bytes, and then more.</summary>
    private void Encrypt(ReadOnlySpan<byte> more)
    {
        if (_length + more.Length > 0 && !_isCompleted)
        {
            lock (session.Lock)
            {
                session.Write(_plaintext.AsSpan(0, _length), inner);
                session.Write(more, inner);
            }
        }
        _length = 0;
        if (_plaintext is { } plaintext)
        {
            _plaintext = null;
            ArrayPool<byte>.Shared.Return(plaintext);
        }
    }
}
