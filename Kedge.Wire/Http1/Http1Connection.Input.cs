using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;

namespace Kedge.Wire.Http1;

// The bytes that were received but not consumed, and the read that is pending while the connection is idle.
public sealed partial class Http1Connection
{
    private readonly Action _completeReadAhead;
    private ManualResetValueTaskSourceCore<int> _readAhead;
    private ConfiguredValueTaskAwaitable<int>.ConfiguredValueTaskAwaiter _readAheadAwaiter;
    private bool _readAheadPending;
    private volatile bool _readAheadCompleted;
    private byte[] _input = new byte[BufferSize];
    private int _start;
    private int _end;

    /// <summary>The bytes that were received but not consumed.</summary>
    internal ReadOnlySpan<byte> Buffered => _input.AsSpan(_start, _end - _start);

    int IValueTaskSource<int>.GetResult(short token) => _readAhead.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _readAhead.GetStatus(token);

    void IValueTaskSource<int>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _readAhead.OnCompleted(continuation, state, token, flags);

    /// <summary>
    /// Keeps a read pending while the connection is idle. The pool calls this once for a new connection that is not
    /// used at once.
    /// </summary>
    internal void ReadAhead()
    {
        if (_input.Length > BufferSize)
        {
            _input = new byte[BufferSize];
        }
        _start = _end = 0;
        _readAhead.Reset();
        _readAheadPending = true;
        var read = Channel.ReadAsync(_input);
        _readAheadAwaiter = read.ConfigureAwait(false).GetAwaiter();
        if (_readAheadAwaiter.IsCompleted)
        {
            CompleteReadAhead();
        }
        else
        {
            _readAheadAwaiter.UnsafeOnCompleted(_completeReadAhead);
        }
    }

    /// <summary>Reads more input. The buffer grows as the parsers allow.</summary>
    /// <returns>Whether any input arrived before the end of the stream.</returns>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal async ValueTask<bool> FillAsync()
    {
        int count;
        if (_readAheadPending)
        {
            _readAheadPending = false;
            count = await new ValueTask<int>(this, _readAhead.Version);
            _readAheadCompleted = false;
        }
        else
        {
            MakeRoom();
            count = await Channel.ReadAsync(_input.AsMemory(_end));
        }
        _end += count;
        _receivedAny |= count > 0;
        return count > 0;
    }

    internal void Consume(int count) => _start += count;

    /// <summary>
    /// Puts back bytes that were read into another buffer. The connection's own buffer must be empty.
    /// </summary>
    internal void Unread(ReadOnlySpan<byte> bytes)
    {
        _start = 0;
        _end = bytes.Length;
        if (_input.Length < bytes.Length)
        {
            _input = new byte[bytes.Length];
        }
        bytes.CopyTo(_input);
    }

    private void CompleteReadAhead()
    {
        var count = 0;
        Exception? error = null;
        try
        {
            count = _readAheadAwaiter.GetResult();
        }
        catch (Exception e)
        {
            error = e;
        }
        _readAheadCompleted = true;
        if (Interlocked.CompareExchange(ref _state, (int)State.Closed, (int)State.Idle) == (int)State.Idle)
        {
            // The peer closed the connection, or sent something unrequested.
            Close();
        }
        if (error is null)
        {
            _readAhead.SetResult(count);
        }
        else
        {
            _readAhead.SetException(error);
        }
    }

    private void MakeRoom()
    {
        if (_start == _end)
        {
            _start = _end = 0;
        }
        else if (_end == _input.Length)
        {
            if (_start == 0)
            {
                Array.Resize(ref _input, 2 * _input.Length);
            }
            else
            {
                Buffered.CopyTo(_input);
                _end -= _start;
                _start = 0;
            }
        }
    }
}
