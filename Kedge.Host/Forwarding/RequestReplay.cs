using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Kedge.Wire.Sockets;

namespace Kedge.Host.Forwarding;

/// <summary>
/// Sends a request body again when the endpoint did not process the attempt that it was sent with (RFC 9113, 8.7), or
/// when the route asks for a retry. It keeps a copy of the bytes sent until a response arrives or there are more than
/// it may keep.
/// </summary>
/// <remarks>
/// The copy loop that reads from the caller runs only once. It passes each chunk to <see cref="WriteAsync"/>, which
/// writes it to the current stream and then records it. When that stream fails, the write does not fail but waits; for
/// the next attempt, <see cref="ResumeAsync"/> sends the recorded bytes, and then the write sends its whole chunk
/// again. So a chunk that waits for the endpoint's window does not count as sent, however large it is. The gate keeps
/// the two methods apart, so that chunks stay in order.
/// </remarks>
/// <param name="maxLength">How much it may keep, in bytes.</param>
/// <param name="account">Charged for the copy, unless it is small; null = not charged.</param>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore holds no resource unless its wait handle is used.")]
internal sealed class RequestReplay(int maxLength, IMemoryAccount? account)
{
    /// <summary>About as many bytes as an endpoint accepts before it enlarges its window.</summary>
    public const int Window = 64 * 1024;

    private const int MinLength = 128;
    // Smaller copies are included in what each request is charged anyway.
    private const int MinCharged = 4096;

    private readonly SemaphoreSlim _gate = new(1, 1);
    private byte[]? _sent = [];
    private int _length;
    private long _charged;
    private Stream? _target;
    // How often the body was sent again, and what the copy loop waits on for the next time.
    private int _resumptions;
    private TaskCompletionSource? _resumed;

    /// <summary>Whether everything that was sent so far can be sent again.</summary>
    public bool IsPossible => Volatile.Read(ref _sent) is not null;

    /// <summary>How much was sent, in bytes.</summary>
    public int Length => Volatile.Read(ref _length);

    /// <summary>The body will not be sent again: forgets what was sent.</summary>
    public void GiveUp()
    {
        Volatile.Write(ref _sent, null);
        Charge(0);
    }

    /// <summary>Sets the first stream.</summary>
    public void Start(Stream target) => _target = target;

    /// <summary>Writes a chunk. Waits through failed attempts while the body can be sent again.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> chunk, CancellationToken cancel)
    {
        while (true)
        {
            var resumptions = 0;
            await _gate.WaitAsync(cancel);
            try
            {
                resumptions = _resumptions;
                await _target!.WriteAsync(chunk, cancel);
                Record(chunk.Span);
                return;
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException
                && IsPossible
                && !cancel.IsCancellationRequested)
            {
                // The exchange decides whether to send the body again. If it does not, the loop is canceled.
            }
            finally
            {
                _gate.Release();
            }
            await ResumedAfterAsync(resumptions).WaitAsync(cancel);
        }
    }

    public Task FlushAsync(CancellationToken cancel) => _target!.FlushAsync(cancel);

    /// <summary>Sends the recorded bytes again on another stream, and continues there.</summary>
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
        if (length > maxLength)
        {
            GiveUp();
            return;
        }
        var kept = sent;
        if (length > kept.Length)
        {
            Array.Resize(ref kept, Math.Min(maxLength, Math.Max(MinLength, length * 2)));
            if (kept.Length > MinCharged)
            {
                Charge(kept.Length);
            }
        }
        chunk.CopyTo(kept.AsSpan(_length));
        _length = length;
        // Unless it was given up in the meantime.
        if (Interlocked.CompareExchange(ref _sent, kept, sent) != sent)
        {
            Charge(0);
        }
    }

    private void Charge(long bytes)
    {
        long change;
        lock (_gate)
        {
            change = bytes - _charged;
            _charged = bytes;
        }
        if (change != 0)
        {
            account?.Add(change);
        }
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
