using System.Net;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The content of a request with a body, instead of the forwarder's, whose copy loop it runs between the two ends of
/// <see cref="RequestBody"/>. With a replay, the loop outlives an attempt that the endpoint did not process, and
/// continues with the next one.
/// </summary>
/// <param name="copying">The forwarder's content: it copies from the request to the stream that it is given.</param>
/// <param name="body">Both ends of the copy loop.</param>
/// <param name="replay">Not null when the body may have to be sent again.</param>
internal sealed class RequestContent(HttpContent copying, RequestBody body, RequestReplay? replay) : HttpContent
{
    private readonly Lock _lock = new();
    private Task? _copy;
    private int _attempt;
    private bool _isHeld;
    private bool _isUnwanted;

    /// <summary>
    /// What ends the copy loop; null = what ends the first attempt. An attempt that times out must not end the loop.
    /// </summary>
    public CancellationToken? Cancellation { get; set; }

    /// <summary>Whether the body can be sent: it has not been started, or it can be sent again.</summary>
    public bool IsReplayable =>
        _copy is null || (replay is { IsPossible: true } && _copy is { IsFaulted: false, IsCanceled: false });

    /// <summary>Whether a part of the body is still to be read from the caller.</summary>
    public bool IsSending => _copy is { IsCompleted: false };

    /// <summary>Whether the whole body can be sent, and is not larger than this, as far as it has been read.</summary>
    public bool IsKept(int maxBody) =>
        IsReplayable && (_copy is null || (!body.HasEndedEarly && replay!.Length <= maxBody));

    /// <summary>The body will not be sent again.</summary>
    public void ResponseReceived()
    {
        replay?.GiveUp();
        lock (_lock)
        {
            _isHeld = false;
            if (!_isUnwanted)
            {
                return;
            }
        }
        body.Stop();
    }

    /// <summary>
    /// An attempt begins that may be followed by another one: until <see cref="ResponseReceived"/>, the rest of the
    /// body is read although the endpoint takes no more of it.
    /// </summary>
    /// <param name="attempt">Its number.</param>
    public void Hold(int attempt)
    {
        lock (_lock)
        {
            _attempt = attempt;
            _isHeld = true;
            _isUnwanted = false;
        }
    }

    /// <summary>The endpoint of an attempt takes no more of the body.</summary>
    public void Stop(int attempt)
    {
        lock (_lock)
        {
            if (attempt != _attempt)
            {
                return;
            }
            _isUnwanted = true;
            if (_isHeld)
            {
                return;
            }
        }
        body.Stop();
    }

    /// <summary>The exchange has ended.</summary>
    public void End() => replay?.GiveUp();

    /// <summary>Whether the caller's body has been read to its end.</summary>
    public bool IsComplete => body.IsComplete;

    /// <summary>The endpoint takes no more of the body.</summary>
    public void Stop() => body.Stop();

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    // The token must be passed on as it is: the forwarder compares it with its own.
    protected override Task SerializeToStreamAsync(
        Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        body.SetTarget(stream);
        if (_copy is not null)
        {
            return ResumeAsync(_copy, stream, cancellationToken);
        }
        // Step 6: the forwarder's loop copies the body through RequestBody.
        body.Begin();
        replay?.Start(stream);
        return _copy = copying.CopyToAsync(body, context, Cancellation ?? cancellationToken);
    }

    private async Task ResumeAsync(Task copy, Stream stream, CancellationToken cancel)
    {
        await replay!.ResumeAsync(stream, cancel);
        await copy;
    }

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }
}
