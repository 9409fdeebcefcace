using System.Net;
using System.Runtime.CompilerServices;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The request's body on its way: read from the caller at one end, written to the endpoint at the other, by one copy loop.
/// What was written is flushed when the caller has no more to give just now, so that a chunk goes on when it arrives,
/// and not at every write, so that a body that is there already goes out in as few packets as it fits.
/// </summary>
/// <param name="length">As announced by the caller; null = the body ends where it ends.</param>
/// <param name="replay">Not null: the body can go out again while that is possible.</param>
/// <param name="mayMeetHttp11">Whether the connection that it goes out on can be an HTTP/1.1 one.</param>
internal sealed class RequestBody(Stream source, long? length, RequestReplay? replay, bool mayMeetHttp11, Exchange exchange) : AsyncStream
{
    private Stream? _target;
    private bool _unflushed;
    private long _read;
    // The endpoint takes no more of the body; it may have answered early, though.
    private bool _isUnwanted;

    /// <summary>Where the body goes.</summary>
    public void SetTarget(Stream target) => _target = target;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_isUnwanted)
        {
            return ValueTask.FromResult(Filler(buffer.Length));
        }
        var read = source.ReadAsync(buffer, cancellationToken);
        if (read.IsCompletedSuccessfully)
        {
            var count = read.Result;
            Note(count, buffer.Length);
            return ValueTask.FromResult(count);
        }
        return FlushAndAwaitAsync(read, buffer.Length, cancellationToken);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> FlushAndAwaitAsync(ValueTask<int> read, int wanted, CancellationToken cancel)
    {
        if (_unflushed)
        {
            _unflushed = false;
            try
            {
                await (replay?.FlushAsync(cancel) ?? _target!.FlushAsync(cancel));
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // Not the caller's fault, for which an error of a read would be taken. The next write meets it again, or
                // the answer's failure ends the exchange first.
            }
        }
        var count = await read;
        Note(count, wanted);
        return count;
    }

    private void Note(int count, int wanted)
    {
        if (count > 0)
        {
            _read += count;
            exchange.Moved();
        }
        else if (wanted > 0)
        {
            exchange.RequestRead();
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _unflushed = true;
        var write = replay is { IsPossible: true }
            ? replay.WriteAsync(buffer, cancellationToken)
            : _target!.WriteAsync(buffer, cancellationToken);
        return write.IsCompletedSuccessfully || !mayMeetHttp11 ? write : WriteAsync(write);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WriteAsync(ValueTask write)
    {
        try
        {
            await write;
        }
        catch (ConnectionLostException e) when (!_isUnwanted && e.Connection is not null)
        {
            // The handler reads the answer when the body is out, not before: an answer that came early, and made the
            // endpoint close, would be lost. So the rest goes nowhere, and the handler gets to read.
            e.Connection.DiscardWrites();
            _isUnwanted = true;
        }
    }

    /// <summary>In the place of what the caller would send: as many bytes as were announced, whatever they are.</summary>
    private int Filler(int wanted)
    {
        var count = (int)Math.Min(wanted, Math.Max(0, (length ?? 0) - _read));
        Note(count, wanted);
        return count;
    }

    /// <summary>Only takes note: the next read flushes if it has to wait. (The forwarder asks for it before the first read, too.)</summary>
    public override Task FlushAsync(CancellationToken cancellationToken)
    {
        _unflushed = true;
        return Task.CompletedTask;
    }

    public override bool CanWrite => true;
}

/// <summary>Takes the place of the forwarder's content, which does the copying, to put <see cref="RequestBody"/> at both of its ends.</summary>
internal sealed class RequestContent(HttpContent copying, RequestBody body, RequestReplay? replay) : HttpContent
{
    private readonly CancellationTokenSource? _end = replay is null ? null : new();
    private bool _started;
    private Task? _copy;
    // The stream that the body goes to has ended.
    private volatile bool _streamEnded;

    /// <summary>Whether the body can go out: it has not yet begun to, or can be sent again.</summary>
    public bool CanGoOut =>
        !_started || (replay is { IsPossible: true } && _copy is { IsFaulted: false, IsCanceled: false });

    /// <summary>An answer has come.</summary>
    public void Answered()
    {
        replay?.GiveUp();
        // The answer and the end of the stream may come together, and be seen in either order.
        if (_streamEnded)
        {
            _end!.Cancel();
        }
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    // The very token is handed on: the forwarder compares it with its own.
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        if (replay is not null)
        {
            return SerializeAgainAsync(replay, stream, context, cancellationToken);
        }
        _started = true;
        body.SetTarget(stream);
        return copying.CopyToAsync(body, context, cancellationToken);
    }

    private async Task SerializeAgainAsync(RequestReplay replay, Stream stream, TransportContext? context, CancellationToken cancel)
    {
        body.SetTarget(stream);
        if (!_started)
        {
            _started = true;
            replay.Start(stream);
            _copy = copying.CopyToAsync(body, context, _end!.Token);
        }
        else
        {
            _streamEnded = false;
            await replay.ResumeAsync(stream, cancel);
        }
        // A stream that ends before its answer leaves the copy loop alone; afterwards the loop has nobody to copy for.
        await using var ending = cancel.UnsafeRegister(
            static content => ((RequestContent)content!).EndCopy(), this);
        // Without the token: when a stream is refused, the handler must hear of that, and not first that its body was cut.
        await _copy!;
    }

    private void EndCopy()
    {
        _streamEnded = true;
        if (!replay!.IsPossible)
        {
            _end!.Cancel();
        }
    }

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }
}

/// <summary>No body, for content headers of a request that has none.</summary>
internal sealed class NoContent : HttpContent
{
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => Task.CompletedTask;

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return true;
    }
}
