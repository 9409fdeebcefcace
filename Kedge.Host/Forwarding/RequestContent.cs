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
    private Task? _copy;

    /// <summary>Whether the body can be sent: it has not been started, or it can be sent again.</summary>
    public bool IsReplayable =>
        _copy is null || (replay is { IsPossible: true } && _copy is { IsFaulted: false, IsCanceled: false });

    /// <summary>Whether a part of the body is still to be read from the caller.</summary>
    public bool IsSending => _copy is { IsCompleted: false };

    /// <summary>Whether the caller's body has been read to its end.</summary>
    public bool IsComplete => body.IsComplete;

    /// <summary>The endpoint has responded, so the body will not be sent again.</summary>
    public void ResponseReceived() => replay?.GiveUp();

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
        return _copy = copying.CopyToAsync(body, context, cancellationToken);
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
