using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Kedge.Host.Backends.Connections;

namespace Kedge.Host.Forwarding;

/// <summary>
/// Sends a request body again when the HTTP/2 stream that it was sent on is refused (RFC 9113, 8.7: a refused stream
/// was not processed). It keeps a copy of what was sent until a response comes or the body exceeds 64 KiB.
/// </summary>
/// <remarks>
/// The copy loop that reads from the caller runs only once. It passes each chunk to <see cref="WriteAsync"/>, which
/// records it and writes it to the current stream. When that stream is refused, the write does not fail but waits; for
/// the next stream, the exchange calls <see cref="ResumeAsync"/>, which sends what was recorded, including the chunk
/// that waits, and lets the loop continue. <see cref="_gate"/> keeps the two apart, so that chunks stay in order.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore holds no resource unless its wait handle is used.")]
internal sealed class RequestReplay
{
    private const int MaxLength = 64 * 1024;
    private const int MinLength = 128;

    private readonly SemaphoreSlim _gate = new(1, 1);
    private byte[]? _sent = [];
    private int _length;
    private Stream? _target;
    // How often the body was sent again, and the loop when it waits for the next time.
    private int _resumptions;
    private TaskCompletionSource? _resumed;

    /// <summary>Whether everything that was sent so far can be sent again.</summary>
    public bool IsPossible => Volatile.Read(ref _sent) is not null;

    /// <summary>The body will not be sent again: forgets what was sent.</summary>
    public void GiveUp() => Volatile.Write(ref _sent, null);

    /// <summary>Sets the first stream.</summary>
    public void Start(Stream target) => _target = target;

    /// <summary>Writes a chunk. Waits through refusals while the body can be sent again.</summary>

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
                // An HTTP/2 stream was refused, or it broke off: the exchange learns which. If it was refused, this
                // chunk is sent again with the others; if it broke off, the copy loop is cancelled. (On HTTP/1.1
                // nothing is refused, and the handler waits for the end of this write.)
            }
        }
        finally
        {
            _gate.Release();
        }
        await ResumedAfterAsync(resumptions).WaitAsync(cancel);
    }

    public Task FlushAsync(CancellationToken cancel) => _target!.FlushAsync(cancel);

    /// <summary>Sends what was sent before on another stream, and continues there.</summary>
    public async Task ResumeAsync(Stream target, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            var sent = Volatile.Read(ref _sent)
                ?? throw new InvalidOperationException("the request body cannot be sent again");
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
        if (length > MaxLength)
        {
            GiveUp();
            return;
        }
        var kept = sent;
        if (length > kept.Length)
        {
            Array.Resize(ref kept, Math.Min(MaxLength, Math.Max(MinLength, length * 2)));
        }
        chunk.CopyTo(kept.AsSpan(_length));
        _length = length;
        // Unless it was given up in the meantime.
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
