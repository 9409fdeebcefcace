using System.Net;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The content of a request with a body. It replaces the forwarder's content, whose copy loop it runs between the two
/// ends of <see cref="RequestBody"/>. With a replay, the loop outlives an attempt that the endpoint did not process,
/// and continues with the next one.
/// </summary>
/// <param name="copying">The forwarder's content, which copies from the request to a given stream.</param>
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
    /// Cancels the copy loop; null = the token of the first attempt does. An attempt that times out must not end the
    /// loop.
    /// </summary>
    public CancellationToken? Cancellation { get; set; }

    /// <summary>Whether the body can be sent: it has not been started, or it can be sent again.</summary>
    public bool IsReplayable =>
        _copy is null || (replay is { IsPossible: true } && _copy is { IsFaulted: false, IsCanceled: false });

    /// <summary>Whether a part of the body remains to be read from the caller.</summary>
    public bool IsSending => _copy is { IsCompleted: false };

    /// <summary>Whether the whole body can be sent, and the part read so far is at most this many bytes.</summary>
    public bool IsKept(int maxBody) =>
        IsReplayable && (_copy is null || (!body.HasEndedEarly && replay!.Length <= maxBody));

    /// <summary>A response has arrived, so the body will not be sent again.</summary>
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
    /// Begins an attempt that another one may follow: until <see cref="ResponseReceived"/>, the rest of the body is
    /// read even if the endpoint accepts no more of it.
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

    /// <summary>The endpoint of an attempt accepts no more of the body.</summary>
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

    /// <summary>Ends the copy loop, because the endpoint accepts no more of the body.</summary>
    public void Stop() => body.Stop();

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    // The token must be passed on unchanged: the forwarder compares it with its own.
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
