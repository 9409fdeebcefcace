using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Wire.Sockets;

namespace Kedge.Host.Forwarding;

// The way of a request body:
//
//   caller ──▶ server's ──▶ RequestBody ──▶ copy loop of ──▶ RequestBody ──▶ RequestReplay ──▶ connection ──▶ endpoint
//              reader       .ReadAsync      the forwarder    .WriteAsync     (HTTP/2 only)
//
// RequestContent is the content of the request that is sent. Each attempt calls its SerializeToStreamAsync with the
// stream to write to; the first one starts the copy loop, which reads the caller's bytes from RequestBody and writes
// them back to it.

/// <summary>
/// Both ends of the copy loop of a request body. It sits at both because each end needs to know about the other: what
/// was written is flushed only when the next read has to wait, so that a chunk is forwarded as soon as it arrives, yet
/// a body that has arrived already is sent in few packets; and when the endpoint takes no more, the loop ends. Each
/// byte that is read counts as progress of the exchange.
/// </summary>
/// <param name="source">The server's reader.</param>
/// <param name="replay">Not null when the body may have to be sent again.</param>
/// <param name="progress">Of the exchange.</param>
/// <param name="messages">Counts the messages of a gRPC call; null = not counted.</param>
/// <param name="mirrors">Get a copy of the body; null = none do.</param>
/// <param name="account">Charged for what waits for the endpoint; null = nobody is.</param>
internal sealed class RequestBody(
    PipeReader source,
    RequestReplay? replay,
    ExchangeProgress progress,
    GrpcMessages? messages,
    RequestMirrors? mirrors,
    IMemoryAccount? account) : AsyncStream
{
    // The buffer of the copy loop.
    private const int CopyBuffer = 64 * 1024;

    private readonly Lock _lock = new();
    private Stream? _target;
    private bool _needsFlush;
    private bool _isReading;
    private bool _canceledRead;
    // The endpoint has responded and takes no more, so the rest is not needed.
    private volatile bool _isUnwanted;

    /// <summary>
    /// Whether the copy loop has ended before the end of the body, because the endpoint took no more.
    /// </summary>
    public bool HasEndedEarly { get; private set; }

    public override bool CanWrite => true;

    /// <summary>Whether the caller's body has been read to its end.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>The copy loop begins. Until then, the caller is not waited for.</summary>
    public void Begin() => progress.RequestBodyStarted();

    /// <summary>Sets the stream that the body is written to.</summary>
    public void SetTarget(Stream target) => _target = target;

    /// <summary>Ends the copy loop, as if the body had ended. Called by any thread.</summary>
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
            // Without the token: the server's reader would count a read that it cancels as still being in progress, and
            // could not read the rest before the next request.
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
                // Thrown from a read, it would look like an error of the caller. The next write fails in the same way,
                // or the failure of the response ends the exchange first.
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
            // When the bytes were first: the server must not find the cancellation in its own next read.
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

    /// <summary>Under the lock.</summary>
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
