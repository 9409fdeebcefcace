using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Kedge.Host.Backends.Connections;

namespace Kedge.Host.Forwarding;

/// <summary>
/// What of a request's body has gone out on an HTTP/2 stream that may still be refused, so that it can go out once more on
/// another (RFC 9113, 8.7: a refused stream was not processed). Bodies that are longer than the bound, or that have an
/// answer, are not kept.
/// </summary>
/// <remarks>
/// The copy loop that reads from the caller runs once. It hands its chunks to <see cref="WriteAsync"/>, which waits through
/// a refusal; <see cref="ResumeAsync"/> sends what went out before and lets the loop go on.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore whose wait handle nobody asks for holds nothing.")]
internal sealed class RequestReplay
{
    private const int Longest = 64 * 1024;
    private const int Shortest = 128;

    private readonly SemaphoreSlim _gate = new(1, 1);
    private byte[]? _sent = [];
    private int _length;
    private Stream? _target;
    // How often the body began anew, and who waits for the next time.
    private int _resumptions;
    private TaskCompletionSource? _resumed;

    /// <summary>Whether all that went out so far can go out again.</summary>
    public bool IsPossible => Volatile.Read(ref _sent) is not null;

    /// <summary>An answer has come: there is no going back.</summary>
    public void GiveUp() => Volatile.Write(ref _sent, null);

    public void Start(Stream target) => _target = target;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> chunk, CancellationToken cancel)
    {
        int resumptions;
        await _gate.WaitAsync(cancel);
        try
        {
            Record(chunk.Span);
            resumptions = _resumptions;
            try
            {
                await _target!.WriteAsync(chunk, cancel);
                return;
            }
            catch (Exception e) when (IsPossible && !cancel.IsCancellationRequested && e is not ConnectionLostException)
            {
                // Not HTTP/1.1, which refuses nothing and waits for this write to end.
                // Refused, or broken off: which of the two, the exchange learns. In the first case the chunk is among
                // what is sent again, in the second the copy loop is cancelled.
            }
        }
        finally
        {
            _gate.Release();
        }
        await ResumedAfterAsync(resumptions).WaitAsync(cancel);
    }

    public Task FlushAsync(CancellationToken cancel) => _target!.FlushAsync(cancel);

    /// <summary>Sends what went out before to another stream, and from now on the rest.</summary>
    public async Task ResumeAsync(Stream target, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            var sent = Volatile.Read(ref _sent) ?? throw new InvalidOperationException("the request's body cannot be sent again");
            _target = target;
            await target.WriteAsync(sent.AsMemory(0, _length), cancel);
            await target.FlushAsync(cancel);
            TaskCompletionSource? waiting;
            lock (_gate)
            {
                _resumptions++;
                waiting = _resumed;
                _resumed = null;
            }
            waiting?.TrySetResult();
        }
        finally
        {
            _gate.Release();
        }
    }

    private void Record(ReadOnlySpan<byte> chunk)
    {
        if (Volatile.Read(ref _sent) is not { } sent)
        {
            return;
        }
        var length = _length + chunk.Length;
        if (length > Longest)
        {
            GiveUp();
            return;
        }
        var kept = sent;
        if (length > kept.Length)
        {
            Array.Resize(ref kept, Math.Min(Longest, Math.Max(Shortest, length * 2)));
        }
        chunk.CopyTo(kept.AsSpan(_length));
        _length = length;
        // Not when it was given up meanwhile.
        Interlocked.CompareExchange(ref _sent, kept, sent);
    }

    private Task ResumedAfterAsync(int resumptions)
    {
        lock (_gate)
        {
            return _resumptions != resumptions
                ? Task.CompletedTask
                : (_resumed ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        }
    }
}
