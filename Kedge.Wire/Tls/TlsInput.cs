using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Security.Authentication;
using Kedge.Wire.Sockets;
using Kedge.Wire.Transport;

namespace Kedge.Wire.Tls;

/// <summary>
/// Decrypts what a caller sends, when the server reads it. Records that the server has not read stay encrypted in the
/// transport, which bounds them.
/// </summary>
/// <param name="inner">The transport.</param>
/// <param name="session">Decrypts; used under its lock.</param>
/// <param name="account">Charged for bytes that were decrypted but not consumed; null = none.</param>
internal sealed class TlsInput(PipeReader inner, TlsSession session, IMemoryAccount? account) : PipeReader
{
    // How many bytes are decrypted at once, in addition to those that the reader has left.
    private const long MaxDecrypted = 64 * 1024;

    // One reader at a time, as with every pipe.
    private InputBuffer _buffer = new();
    private bool _hasEnded;
    private bool _isCompleted;
    private long _held;

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (HasResult)
        {
            return new(Result(isCanceled: false));
        }
        while (true)
        {
            var read = inner.ReadAsync(cancellationToken);
            if (!read.IsCompletedSuccessfully)
            {
                return WaitAsync(read, cancellationToken);
            }
            var result = read.Result;
            if (TryTake(result))
            {
                return new(Result(result.IsCanceled));
            }
        }
    }

    public override bool TryRead(out ReadResult result)
    {
        while (!HasResult)
        {
            if (!inner.TryRead(out var read))
            {
                result = default;
                return false;
            }
            if (TryTake(read))
            {
                result = Result(read.IsCanceled);
                return true;
            }
        }
        result = Result(isCanceled: false);
        return true;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        if (!_isCompleted)
        {
            _buffer.Advance(consumed, examined);
            Hold(_buffer.Length);
        }
    }

    public override void CancelPendingRead() => inner.CancelPendingRead();

    /// <summary>
    /// Drops the bytes that are left. Does not complete the transport: its owner still ends the connection.
    /// </summary>
    public override void Complete(Exception? exception = null)
    {
        _isCompleted = true;
        _buffer.Clear();
        Hold(0);
    }

    private bool HasResult => _buffer.HasUnexamined || _hasEnded || _isCompleted;

    private ReadResult Result(bool isCanceled) =>
        _isCompleted
            ? throw new InvalidOperationException("the reader was completed")
            : new(_buffer.Content, isCanceled, _hasEnded);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadResult> WaitAsync(ValueTask<ReadResult> read, CancellationToken cancel)
    {
        while (true)
        {
            var result = await read;
            if (TryTake(result))
            {
                return Result(result.IsCanceled);
            }
            read = inner.ReadAsync(cancel);
        }
    }

    /// <summary>Decrypts what the transport has read.</summary>
    /// <returns>Whether the reader has a result.</returns>
    /// <exception cref="IOException">The peer has broken the protocol, or sent an alert.</exception>
    private bool TryTake(ReadResult read)
    {
        var taken = read.Buffer.Start;
        try
        {
            taken = Decrypt(read.Buffer);
        }
        catch (AuthenticationException e)
        {
            throw new IOException($"the TLS connection failed: {e.Message}", e);
        }
        finally
        {
            inner.AdvanceTo(taken);
        }
        // A caller that just closes the connection, without close_notify, has ended as well.
        _hasEnded |= read.IsCompleted && !_buffer.HasUnexamined && read.Buffer.Slice(taken).IsEmpty;
        return read.IsCanceled || HasResult;
    }

    /// <returns>The position up to which the records were consumed.</returns>
    private unsafe SequencePosition Decrypt(in ReadOnlySequence<byte> records)
    {
        lock (session.Lock)
        {
            var taken = 0L;
            var limit = _buffer.Length + MaxDecrypted;
            foreach (var part in records)
            {
                fixed (byte* bytes = part.Span)
                {
                    session.SetInput(bytes, part.Length);
                    while (session.InputLeft > 0 && !_hasEnded && _buffer.Length < limit)
                    {
                        DecryptRecord();
                    }
                    taken += part.Length - session.InputLeft;
                    session.SetInput(null, 0);
                }
                if (_hasEnded || _buffer.Length >= limit)
                {
                    break;
                }
            }
            return _hasEnded ? records.End : records.GetPosition(taken);
        }
    }

    private void DecryptRecord()
    {
        TlsProgress progress;
        do
        {
            var count = 0;
            try
            {
                progress = session.Read(_buffer.Room(), out count);
            }
            finally
            {
                _buffer.Filled(count);
            }
            _hasEnded |= progress == TlsProgress.Ended;
        }
        while (progress == TlsProgress.Done && session.HasPlaintext);
    }

    private void Hold(long bytes)
    {
        if (bytes != _held)
        {
            account?.Add(bytes - _held);
            _held = bytes;
        }
    }
}
