using System.Runtime.CompilerServices;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Forwarding;

// The way of a request body:
//
//   caller ──▶ server's ──▶ RequestBody ──▶ copy loop of ──▶ RequestBody ──▶ RequestReplay ──▶ handler's ──▶ endpoint
//              stream       .ReadAsync      the forwarder    .WriteAsync     (HTTP/2 only)     stream
//
// RequestContent is what the handler knows as the content of the request. When the handler has a connection, it calls
// RequestContent.SerializeToStreamAsync with the stream to write to; that starts the copy loop, which reads the
// caller's bytes from RequestBody and writes them back to it. On HTTP/1.1, the stream of the handler ends in a
// TrackedConnection.

/// <summary>
/// Both ends of the copy loop of a request body. It sits at both because each end needs to know about the other: what
/// was written is flushed only when the next read has to wait, so that a chunk is forwarded as soon as it arrives, yet
/// a body that has arrived already is sent in few packets; and when the endpoint has closed the connection, the rest is
/// no longer read from the caller. Each byte that is read counts as progress of the exchange.
/// </summary>
/// <param name="source">The server's stream.</param>
/// <param name="length">The Content-Length; null = unknown.</param>
/// <param name="replay">Not null when the body may have to be sent again.</param>
/// <param name="mayUseHttp11">Whether it may be sent on an HTTP/1.1 connection.</param>
/// <param name="progress">Of the exchange.</param>
/// <param name="messages">Counts the messages of a gRPC call; null = not counted.</param>
internal sealed class RequestBody(
    Stream source,
    long? length,
    RequestReplay? replay,
    bool mayUseHttp11,
    ExchangeProgress progress,
    GrpcMessages? messages) : AsyncStream
{
    private Stream? _target;
    private bool _needsFlush;
    private long _read;
    // The endpoint has closed the connection, perhaps after an early response. The rest of the body is not needed.
    private bool _isUnwanted;

    public override bool CanWrite => true;

    /// <summary>Sets the stream that the body is written to.</summary>
    public void SetTarget(Stream target) => _target = target;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_isUnwanted)
        {
            return ValueTask.FromResult(Fill(buffer.Length));
        }
        ValueTask<int> read;
        try
        {
            read = source.ReadAsync(buffer, cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            progress.CallerFault = e;
            throw;
        }
        if (read.IsCompletedSuccessfully)
        {
            var count = read.Result;
            messages?.Note(buffer.Span[..count]);
            NoteRead(count, buffer.Length);
            return ValueTask.FromResult(count);
        }
        return FlushAndAwaitAsync(read, buffer, cancellationToken);
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _needsFlush = true;
        var write = replay is { IsPossible: true }
            ? replay.WriteAsync(buffer, cancellationToken)
            : _target!.WriteAsync(buffer, cancellationToken);
        return write.IsCompletedSuccessfully || !mayUseHttp11 ? write : AwaitWriteAsync(write);
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
        ValueTask<int> read, Memory<byte> buffer, CancellationToken cancel)
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
        progress.IsAwaitingCaller = true;
        int count;
        try
        {
            count = await read;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            progress.CallerFault = e;
            throw;
        }
        progress.IsAwaitingCaller = false;
        messages?.Note(buffer.Span[..count]);
        NoteRead(count, buffer.Length);
        return count;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask AwaitWriteAsync(ValueTask write)
    {
        try
        {
            await write;
        }
        catch (ConnectionLostException e) when (!_isUnwanted && e.DiscardWrites is not null)
        {
            // The endpoint may have responded early and closed the connection. The handler reads the response only
            // after it has sent the whole body, so the rest of the body is discarded to let it get there.
            e.DiscardWrites();
            _isUnwanted = true;
        }
    }

    /// <summary>Instead of the caller's bytes: arbitrary ones, as many as were announced.</summary>
    private int Fill(int wanted)
    {
        var count = (int)Math.Min(wanted, Math.Max(0, (length ?? 0) - _read));
        NoteRead(count, wanted);
        return count;
    }

    private void NoteRead(int count, int wanted)
    {
        if (count > 0)
        {
            _read += count;
            progress.NoteProgress();
        }
        else if (wanted > 0)
        {
            progress.RequestBodyCompleted();
        }
    }
}
