using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Wire.Sockets;

namespace Kedge.Host.Forwarding;

// How a request body flows:
//
//   caller ──▶ server's ──▶ RequestBody ──▶ copy loop of ──▶ RequestBody ──▶ RequestReplay ──▶ connection ──▶ endpoint
//              reader       .ReadAsync      the forwarder    .WriteAsync     (HTTP/2 only)
//
// RequestContent is the content of the outgoing request. Each attempt calls its SerializeToStreamAsync with the stream
// to write to; the first attempt starts the copy loop, which reads the caller's bytes from RequestBody and writes them
// back to it.

/// <summary>
/// Both ends of the copy loop of a request body, because each end needs to know about the other: written bytes are
/// flushed only when the next read has to wait, so that a chunk is forwarded as soon as it arrives, yet a body that has
/// already arrived is sent in few packets; and when the endpoint accepts no more bytes, the loop ends. Each byte read
/// counts as progress of the exchange.
/// </summary>
/// <param name="source">The server's reader.</param>
/// <param name="replay">Not null when the body may have to be sent again.</param>
/// <param name="progress">The progress of the exchange.</param>
/// <param name="messages">Counts the messages of a gRPC call; null = not counted.</param>
/// <param name="mirrors">The mirrors that get a copy of the body; null = none.</param>
/// <param name="account">Charged for the bytes that wait for the endpoint; null = not charged.</param>
internal sealed class RequestBody(
    PipeReader source,
    RequestReplay? replay,
    ExchangeProgress progress,
    GrpcMessages? messages,
    RequestMirrors? mirrors,
    IMemoryAccount? account) : AsyncStream
{
    // The size of the copy loop's buffer, in bytes.
    private const int CopyBuffer = 64 * 1024;

    private readonly Lock _lock = new();
    private Stream? _target;
    private bool _needsFlush;
    private bool _isReading;
    private bool _canceledRead;
    // The endpoint has responded and accepts no more of the body, so the rest is not needed.
    private volatile bool _isUnwanted;

    /// <summary>
    /// Whether the copy loop has ended before the end of the body, because the endpoint accepted no more of it.
    /// </summary>
    public bool HasEndedEarly { get; private set; }

    public override bool CanWrite => true;

    /// <summary>Whether the caller's body has been read to its end.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>Notes that the copy loop begins. Until then, the exchange does not wait for the caller.</summary>
    public void Begin() => progress.RequestBodyStarted();

    /// <summary>Sets the stream that the body is written to.</summary>
    public void SetTarget(Stream target) => _target = target;

    /// <summary>Ends the copy loop, as if the body had ended. Can be called from any thread.</summary>
    public void Stop()
    {
        lock (_lock)
        {
            _isUnwanted = true;
            CancelRead();
        }
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_isUnwanted)
        {
            return new(EndEarly());
        }
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            // Without the token: the server's reader would count a read that the token cancels as still in progress,
            // and could not read the rest of the body before the next request.
            var read = source.ReadAsync(CancellationToken.None);
            return read.IsCompletedSuccessfully
                ? new(Take(read.Result, buffer))
                : FlushAndAwaitAsync(read, buffer, cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            progress.CallerFault = e;
            throw;
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _needsFlush = true;
        var write = replay is { IsPossible: true }
            ? replay.WriteAsync(buffer, cancellationToken)
            : _target!.WriteAsync(buffer, cancellationToken);
        return write.IsCompleted || account is null ? write : AwaitAsync(write, account);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask AwaitAsync(ValueTask write, IMemoryAccount account)
    {
        account.Add(CopyBuffer);
        try
        {
            await write;
        }
        finally
        {
            account.Add(-CopyBuffer);
        }
    }

    /// <summary>
    /// Defers the flush to the next read that has to wait. (The forwarder also flushes before the first read.)
    /// </summary>
    public override Task FlushAsync(CancellationToken cancellationToken)
    {
        _needsFlush = true;
        return Task.CompletedTask;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> FlushAndAwaitAsync(
        ValueTask<ReadResult> read, Memory<byte> buffer, CancellationToken cancel)
    {
        if (_needsFlush)
        {
            _needsFlush = false;
            try
            {
                await (replay?.FlushAsync(cancel) ?? _target!.FlushAsync(cancel));
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // Thrown from a read, it would look like the caller's error. The next write fails in the same way, or
                // the failure of the response ends the exchange first.
            }
        }
        lock (_lock)
        {
            _isReading = true;
            if (_isUnwanted)
            {
                CancelRead();
            }
        }
        await using var registration = cancel.UnsafeRegister(static body => ((RequestBody)body!).Cancel(), this);
        progress.IsAwaitingCaller = true;
        ReadResult result;
        bool wasCanceled;
        try
        {
            result = await read;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            progress.CallerFault = e;
            throw;
        }
        finally
        {
            lock (_lock)
            {
                _isReading = false;
                wasCanceled = _canceledRead;
                _canceledRead = false;
            }
        }
        progress.IsAwaitingCaller = false;
        if (wasCanceled || cancel.IsCancellationRequested)
        {
            source.AdvanceTo(result.Buffer.Start);
            // The bytes came first: consume the cancellation here, so that the server's own next read does not get it.
            if (wasCanceled && !result.IsCanceled && source.TryRead(out result))
            {
                source.AdvanceTo(result.Buffer.Start);
            }
            cancel.ThrowIfCancellationRequested();
            return EndEarly();
        }
        return Take(result, buffer);
    }

    private void Cancel()
    {
        lock (_lock)
        {
            CancelRead();
        }
    }

    /// <summary>Call it under the lock.</summary>
    private void CancelRead()
    {
        if (_isReading && !_canceledRead)
        {
            _canceledRead = true;
            try
            {
                source.CancelPendingRead();
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
            {
                // The server has closed its reader, because the stream was reset: the read fails, too.
                _canceledRead = false;
            }
        }
    }

    private int EndEarly()
    {
        HasEndedEarly = true;
        progress.RequestBodyCompleted();
        return 0;
    }

    private int Take(ReadResult result, Memory<byte> buffer)
    {
        var bytes = result.Buffer;
        if (result.IsCanceled)
        {
            source.AdvanceTo(bytes.Start);
            return EndEarly();
        }
        var count = (int)Math.Min(bytes.Length, buffer.Length);
        if (count > 0)
        {
            bytes = bytes.Slice(0, count);
            bytes.CopyTo(buffer.Span);
            messages?.Note(buffer.Span[..count]);
            mirrors?.Note(buffer.Span[..count]);
            source.AdvanceTo(bytes.End);
            progress.NoteProgress();
        }
        else
        {
            source.AdvanceTo(bytes.Start);
            if (buffer.Length > 0)
            {
                IsComplete = result.IsCompleted;
                progress.RequestBodyCompleted();
                if (IsComplete)
                {
                    mirrors?.BodyCompleted();
                }
            }
        }
        return count;
    }
}
