using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;
using Kedge.Host.Http;

namespace Kedge.Host.Backends.Connections;

/// <summary>
/// An HTTP/1.1 connection that knows whether a response is pending. When it closes in that state, it throws
/// <see cref="ConnectionLostException"/>, for which the handler does not retry by itself: the exchange decides on that
/// (docs/matching.md#attempts).
/// </summary>
internal sealed class TrackedConnection(Stream inner) : AsyncStream, IValueTaskSource<int>
{
    // Bytes were written since the last byte was read: a response is pending.
    private volatile bool _awaiting;
    // A byte was read: an earlier exchange got a response.
    private volatile bool _answered;
    // The peer closed it while no response was pending.
    private volatile bool _ended;
    // Whether the request in flight is not the first on this connection.
    private bool _reused;
    private bool _discards;
    private ManualResetValueTaskSourceCore<int> _read;
    private ConfiguredValueTaskAwaitable<int>.ConfiguredValueTaskAwaiter _reading;
    private int _wanted;
    private Action? _complete;

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_discards && _awaiting)
        {
            return default;
        }
        if (_ended || _discards)
        {
            return ValueTask.FromException(new ConnectionLostException(_answered, nothingSent: true, null, null));
        }
        if (!_awaiting)
        {
            _reused = _answered;
            _awaiting = true;
        }
        // The socket nearly always completes a write synchronously; then no state machine is needed.
        var write = inner.WriteAsync(buffer, cancellationToken);
        return write.IsCompletedSuccessfully ? write : AwaitAsync(write);
    }

    private async ValueTask AwaitAsync(ValueTask write)
    {
        try
        {
            await write;
        }
        catch (IOException e)
        {
            throw new ConnectionLostException(_reused, nothingSent: false, () => _discards = true, e);
        }
    }

    // Every idle connection has a pending read, which is too many for the runtime's pool of state machines. A
    // connection has only one at a time, so it is the source of the result itself.
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = inner.ReadAsync(buffer, cancellationToken);
        _wanted = buffer.Length;
        _reading = read.ConfigureAwait(false).GetAwaiter();
        _read.Reset();
        if (read.IsCompleted)
        {
            Complete();
        }
        else
        {
            _reading.UnsafeOnCompleted(_complete ??= Complete);
        }
        return new ValueTask<int>(this, _read.Version);
    }

    private void Complete()
    {
        int count;
        try
        {
            count = _reading.GetResult();
            Note(count);
        }
        catch (Exception e)
        {
            _read.SetException(e is IOException && _awaiting ? Lost(e) : e);
            return;
        }
        _read.SetResult(count);
    }

    private void Note(int count)
    {
        if (count > 0)
        {
            _answered = true;
            _awaiting = false;
        }
        else if (_wanted > 0)
        {
            if (_awaiting)
            {
                throw Lost(null);
            }
            _ended = true;
        }
    }

    int IValueTaskSource<int>.GetResult(short token) => _read.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _read.GetStatus(token);

    void IValueTaskSource<int>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _read.OnCompleted(continuation, state, token, flags);

    private ConnectionLostException Lost(Exception? cause) => new(_reused, nothingSent: false, null, cause);

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public override bool CanWrite => true;

    public override void Flush() => inner.Flush();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }
        base.Dispose(disposing);
    }

    public override async ValueTask DisposeAsync()
    {
        await inner.DisposeAsync();
        await base.DisposeAsync();
    }
}
