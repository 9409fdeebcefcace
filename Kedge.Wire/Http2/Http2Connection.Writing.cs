using System.Diagnostics.CodeAnalysis;

namespace Kedge.Wire.Http2;

// Frames are sent in the order in which they were created; streams whose content waits take turns.
public sealed partial class Http2Connection
{
    // From this many bytes on, the bytes that a body has written are sent before the body is flushed.
    private const int WriteThrough = 32 * 1024;

    // Streams whose content waits for a window or for the channel, in the order of their turns.
    private readonly Queue<Http2Exchange> _waiting = [];

    private OutputBuffer? _spareOutput = new();
    private bool _isWriting;
    private bool _writeFailed;

    /// <summary>Accepts content of a request.</summary>
    /// <returns>Whether all of it was accepted; if not, the stream is signalled once it was.</returns>
    internal bool Write(Http2Exchange exchange, ReadOnlyMemory<byte> content, bool isEnd)
    {
        bool isTaken;
        bool isMuch;
        lock (_lock)
        {
            isTaken = exchange.Offer(content, isEnd);
            isMuch = _session.Output.Length >= WriteThrough;
        }
        if (!isTaken || isMuch)
        {
            Flush();
        }
        return isTaken;
    }

    /// <summary>Sends as much as the channel's queue allows. Call it under the lock.</summary>
    internal int SendNow(Http2Exchange exchange, ReadOnlySpan<byte> content, bool isEnd) =>
        _session.Send(exchange, content, _options.MaxPendingOutput - _session.Output.Length, isEnd);

    /// <summary>Gives a stream with content a turn when there is room. Call it under the lock.</summary>
    internal void Wait(Http2Exchange exchange) => _waiting.Enqueue(exchange);

    /// <summary>Writes the pending output, unless a write is already in progress.</summary>
    internal void Flush()
    {
        OutputBuffer? output;
        lock (_lock)
        {
            if (_isWriting || !TryTakeOutput(out output))
            {
                return;
            }
            _isWriting = true;
        }
        Write(output);
    }

    private void Write(OutputBuffer output)
    {
        while (true)
        {
            ValueTask write;
            try
            {
                write = _channel.WriteAsync(output.Memory);
                if (!write.IsCompleted)
                {
                    _ = ContinueAsync(write, output);
                    return;
                }
                write.GetAwaiter().GetResult();
            }
            catch (Exception e)
            {
                WriteFailed(e, output);
                return;
            }
            if (!TryGoOn(ref output))
            {
                return;
            }
        }
    }

    private async Task ContinueAsync(ValueTask write, OutputBuffer output)
    {
        try
        {
            await write;
        }
        catch (Exception e)
        {
            WriteFailed(e, output);
            return;
        }
        if (TryGoOn(ref output))
        {
            Write(output);
        }
    }

    /// <summary>After a write, gives waiting content its turn and takes the output to write next.</summary>
    private bool TryGoOn(ref OutputBuffer output)
    {
        After after;
        bool goesOn;
        lock (_lock)
        {
            output.Clear();
            _spareOutput = output;
            GiveTurns();
            goesOn = TryTakeOutput(out var next);
            _isWriting = goesOn;
            output = next ?? output;
            after = Settle();
        }
        // The callbacks might write for a long time, and the next write should not wait for that.
        Dispatch(after);
        return goesOn;
    }

    private bool TryTakeOutput([NotNullWhen(true)] out OutputBuffer? output)
    {
        if (_session.Output.Length == 0)
        {
            output = null;
            return false;
        }
        if (_writeFailed)
        {
            _session.DropOutput();
            output = null;
            return false;
        }
        output = _session.SwapOutput(_spareOutput!);
        _spareOutput = null;
        return true;
    }

    /// <summary>
    /// Before a peer closes the connection, it may report which requests it has not processed, so its last frames are
    /// still read.
    /// </summary>
    private void WriteFailed(Exception cause, OutputBuffer output)
    {
        After after;
        lock (_lock)
        {
            _writeFailed = true;
            _isWriting = false;
            output.Free();
            _spareOutput = output;
            _session.DropOutput();
            _isRetired = true;
            after = Settle();
        }
        _ = AbortLaterAsync();
        Dispatch(after);
    }

    private async Task AbortLaterAsync()
    {
        await Task.Delay(ClosePatience);
        _channel.Abort();
    }

    /// <summary>
    /// Gives the streams with content turns of one frame each, while their windows and the channel permit.
    /// </summary>
    private void GiveTurns()
    {
        var without = 0;
        while (without < _waiting.Count)
        {
            var room = _options.MaxPendingOutput - _session.Output.Length;
            if (room <= 0)
            {
                return;
            }
            var exchange = _waiting.Dequeue();
            var sent = exchange.TakeTurn(Math.Min(room, PeerSettings.LeastMaxFrameSize), out var isDone);
            without = sent > 0 || isDone ? 0 : without + 1;
            if (!isDone)
            {
                _waiting.Enqueue(exchange);
            }
        }
    }

    private bool IsWriting()
    {
        lock (_lock)
        {
            return _isWriting;
        }
    }
}
