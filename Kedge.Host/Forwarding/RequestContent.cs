using System.Net;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The content of a request with a body, instead of the forwarder's, whose copy loop it runs between the two ends of
/// <see cref="RequestBody"/>. With a replay, the loop outlives a refused stream and continues on the next one.
/// </summary>
/// <param name="copying">The forwarder's content: it copies from the request to the stream that it is given.</param>
/// <param name="body">Both ends of the copy loop.</param>
/// <param name="replay">Not null when the body may have to be sent again.</param>
internal sealed class RequestContent(HttpContent copying, RequestBody body, RequestReplay? replay) : HttpContent
{
    private readonly CancellationTokenSource? _end = replay is null ? null : new();
    private bool _started;
    private Task? _copy;
    // The stream that the body is written to has ended.
    private volatile bool _streamEnded;

    /// <summary>Whether the body can be sent: it has not been started, or it can be sent again.</summary>
    public bool IsReplayable =>
        !_started || (replay is { IsPossible: true } && _copy is { IsFaulted: false, IsCanceled: false });

    /// <summary>The endpoint has responded, so the body will not be sent again.</summary>
    public void ResponseReceived()
    {
        replay?.GiveUp();
        // The response and the end of the stream may come at the same time and be observed in either order.
        if (_streamEnded)
        {
            _end!.Cancel();
        }
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    // The token must be passed on as it is: the forwarder compares it with its own.
    protected override Task SerializeToStreamAsync(
        Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        // Step 6: the forwarder's loop copies the body through RequestBody.
        if (replay is not null)
        {
            return SerializeWithReplayAsync(replay, stream, context, cancellationToken);
        }
        _started = true;
        body.SetTarget(stream);
        return copying.CopyToAsync(body, context, cancellationToken);
    }

    private async Task SerializeWithReplayAsync(
        RequestReplay replay, Stream stream, TransportContext? context, CancellationToken cancel)
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
        // A stream that ends before its response leaves the copy loop running; after the response, nobody needs the
        // loop.
        await using var ending = cancel.UnsafeRegister(
            static content => ((RequestContent)content!).EndCopy(), this);
        // Without the token: the handler must learn of a refused stream, and not first of a body that was cut.
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

/// <summary>Carries the content headers of a request without a body.</summary>
internal sealed class NoContent : HttpContent
{
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => Task.CompletedTask;

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return true;
    }
}
