using System.Threading.Tasks.Sources;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

// The content of the request: writing it, and the part of it that waits for a window.
internal sealed partial class Http2Exchange
{
    // Content that is not sent yet, and the writer that waits for that.
    private ReadOnlyMemory<byte> _pending;
    private bool _pendingIsEnd;
    private bool _isWriting;
    private bool _isUnwanted;
    private bool _isUnwantedDue;
    private long _contentSent;
    private ManualResetValueTaskSourceCore<bool> _write;
    private readonly TaskCompletionSource<bool>? _mayContinue;

    /// <summary>Whether writes of content are ignored.</summary>
    public bool DiscardsContent => _isUnwanted;

    /// <summary>
    /// Starts to send the content of a request whose header section was sent. Do not call it under the lock.
    /// </summary>
    public void Begin()
    {
        if (Id == 0 || IsEmpty)
        {
            return;
        }
        if (_mayContinue is not null || _request.Content is null)
        {
            _ = SendContentAsync();
            return;
        }
        // Needs no state machine when the content is already available.
        var sink = new Http2RequestStream(this);
        try
        {
            var copy = _request.Content.CopyToAsync(sink, _cancel);
            if (copy.IsCompletedSuccessfully)
            {
                EndContent();
            }
            else
            {
                _ = AwaitContentAsync(copy);
            }
        }
        catch (Exception e)
        {
            ContentFailed(e);
        }
    }

    /// <summary>Writes content of the request. Do not call it under the lock.</summary>
    public ValueTask WriteAsync(ReadOnlyMemory<byte> content)
    {
        if (content.IsEmpty)
        {
            return default;
        }
        if (_error is { } error)
        {
            // A caller that can send the content again must not take it for sent.
            return ValueTask.FromException(error);
        }
        if (_isUnwanted)
        {
            return default;
        }
        _contentSent += content.Length;
        if (_request.ContentLength is { } length && _contentSent > length)
        {
            throw new InvalidOperationException("the content is longer than its length");
        }
        // The last frame can be marked as the last one.
        var isEnd = _contentSent == _request.ContentLength && _request.Trailers is null;
        return _connection.Write(this, content, isEnd) ? default : new ValueTask(this, _write.Version);
    }

    /// <summary>Writes the collected bytes.</summary>
    public void Flush() => _connection.Flush();

    /// <summary>Sends content, and keeps what cannot be sent yet. Call it under the lock.</summary>
    /// <returns>Whether all of it was sent, or need not be.</returns>
    public bool Offer(ReadOnlyMemory<byte> content, bool isEnd)
    {
        if (_error is not null)
        {
            _write.Reset();
            _write.SetException(_error);
            return false;
        }
        if (IsClosed || IsLocalClosed)
        {
            return true;
        }
        var sent = _connection.SendNow(this, content.Span, isEnd);
        if (sent == content.Length)
        {
            return true;
        }
        _pending = content[sent..];
        _pendingIsEnd = isEnd;
        _isWriting = true;
        _write.Reset();
        _connection.Wait(this);
        return false;
    }

    /// <summary>Sends some of the content that waits. Call it under the lock.</summary>
    /// <param name="isDone">Whether no more content waits.</param>
    /// <returns>How many bytes were sent.</returns>
    public int TakeTurn(int most, out bool isDone)
    {
        if (!_isWriting || IsClosed)
        {
            isDone = true;
            return 0;
        }
        var sent = _connection.Session.Send(this, _pending.Span, most, _pendingIsEnd);
        _pending = _pending[sent..];
        isDone = _pending.IsEmpty;
        if (isDone)
        {
            Change();
        }
        return sent;
    }

    protected internal override void OnRequestUnwanted()
    {
        StopContent();
        Change();
    }

    private void StopContent()
    {
        if (!_isUnwanted)
        {
            _isUnwanted = true;
            _isUnwantedDue = _request.Content is not null;
        }
    }

    private async Task SendContentAsync()
    {
        try
        {
            if (_request.Content is { } content)
            {
                if (_mayContinue is { } mayContinue)
                {
                    _connection.Flush();
                    var delay = Task.Delay(_connection.Options.ContinueTimeout, _connection.Options.Clock);
                    if (await Task.WhenAny(mayContinue.Task, delay) == mayContinue.Task && !await mayContinue.Task)
                    {
                        // The final response arrived before the content was sent.
                        return;
                    }
                }
                await content.CopyToAsync(new Http2RequestStream(this), _cancel);
            }
            EndContent();
        }
        catch (Exception e)
        {
            ContentFailed(e);
        }
    }

    private async Task AwaitContentAsync(Task copy)
    {
        try
        {
            await copy;
            EndContent();
        }
        catch (Exception e)
        {
            ContentFailed(e);
        }
    }

    private void EndContent()
    {
        if (_isUnwanted || IsLocalClosed)
        {
            return;
        }
        if (_request.Content is not null && _request.ContentLength is { } length && _contentSent < length)
        {
            throw new InvalidOperationException("the content is shorter than its length");
        }
        var trailers = _request.Trailers?.Invoke(_request.State);
        if (trailers is { Count: > 0 })
        {
            long size = 0;
            if (RequestHead.Check(trailers, ref size) is { } problem)
            {
                throw new InvalidOperationException($"the trailers cannot be sent: {problem}");
            }
        }
        _connection.Do(
            static (session, end) => end.Exchange.EndLocked(session, end.Trailers),
            (Exchange: this, Trailers: trailers));
    }

    private void EndLocked(Http2Session session, FieldList? trailers)
    {
        if (IsClosed || IsLocalClosed)
        {
            return;
        }
        if (trailers is { Count: > 0 })
        {
            session.SendTrailers(this, trailers);
        }
        else
        {
            session.Send(this, default, 0, true);
        }
    }

    private void ContentFailed(Exception cause) =>
        _connection.Do(
            static (session, failed) => failed.Exchange.ContentFailedLocked(session, failed.Cause),
            (Exchange: this, Cause: cause));

    private void ContentFailedLocked(Http2Session session, Exception cause)
    {
        if (_isUnwanted || _error is not null || IsLocalClosed)
        {
            return;
        }
        if (_cancel.IsCancellationRequested)
        {
            CancelLocked();
            return;
        }
        session.Reset(this, IsRemoteClosed ? Http2ErrorCode.NoError : Http2ErrorCode.Cancel);
        if (IsRemoteClosed)
        {
            OnRequestUnwanted();
            return;
        }
        OnFailed(new StreamFailure(
            FailureKind.ContentFailed,
            SentState.MayHaveBeenProcessed,
            "the content of the request failed",
            null,
            cause));
    }
}
