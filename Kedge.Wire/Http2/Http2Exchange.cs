using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Threading.Tasks.Sources;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

// One request and its response. The connection's lock guards all fields. What the session reports is noted under it,
// and what somebody waits for is completed after it, in Signal:
//
//   request    content ──▶ Http2RequestStream ──▶ Offer, TakeTurn ──▶ session
//   response   session ──▶ OnHead, OnData, OnEnd ──▶ Signal ──▶ SendAsync, Http2ResponseStream

/// <summary>One request and its response on an <see cref="Http2Connection"/>.</summary>
[SuppressMessage(
    "Design", "CA1001:Types that own disposable fields should be disposable", Justification = "The caller owns it.")]
internal sealed class Http2Exchange : Http2StreamState, IThreadPoolWorkItem, IValueTaskSource<int>, IValueTaskSource
{
    private readonly Http2Connection _connection;
    private readonly UpstreamRequest _request;
    private readonly CancellationToken _cancel;
    private readonly TaskCompletionSource<UpstreamResponse> _response = new();
    private CancellationTokenRegistration _registration;

    private bool _isChanged;

    // The failure, as whoever waits or comes later sees it.
    private Exception? _error;

    // The head of the response, and whether it is still to be handed over.
    private UpstreamResponse? _head;
    private bool _isHeadDue;
    private Queue<(int Status, FieldList Fields)>? _informational;
    private bool _isInforming;

    // Content that was received and not read, and the reader that waits for it.
    private byte[] _buffer = [];
    private int _start;
    private int _end;
    private FieldList? _trailers;
    private bool _isReading;
    private Memory<byte> _readBuffer;
    private int _readCount;
    private bool _isDisposed;
    private CancellationTokenRegistration _readRegistration;
    private ManualResetValueTaskSourceCore<int> _read;

    // Content that is to be sent, and the writer that waits for it.
    private ReadOnlyMemory<byte> _pending;
    private bool _pendingIsEnd;
    private bool _isWriting;
    private bool _isUnwanted;
    private bool _isUnwantedDue;
    private long _contentSent;
    private ManualResetValueTaskSourceCore<bool> _write;
    private readonly TaskCompletionSource<bool>? _mayContinue;

    public Http2Exchange(Http2Connection connection, UpstreamRequest request, CancellationToken cancel)
    {
        _connection = connection;
        _request = request;
        _cancel = cancel;
        if (request.Content is not null && request.ExpectsContinue)
        {
            _mayContinue = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    public Task<UpstreamResponse> Response => _response.Task;

    /// <summary>Whether the request ends with its header section.</summary>
    public bool IsEmpty => _request.Content is null && _request.Trailers is null;

    /// <summary>Whether writes of content are ignored.</summary>
    public bool DiscardsContent => _isUnwanted;

    /// <summary>Whether it has failed, so it need not be opened.</summary>
    public bool HasFailed => _error is not null;

    private bool HasContent => _end > _start;

    /// <summary>Whether nothing of it is left.</summary>
    private bool IsOver => IsClosed && (_error is not null || (!_isHeadDue && !HasContent));

    /// <summary>The request was not sent. To be called under the lock.</summary>
    public void Refuse(FailureKind kind, string message) =>
        OnFailed(new StreamFailure(kind, SentState.NothingSent, message));

    /// <summary>Follows the cancellation of the exchange. Before it is opened; not under the lock.</summary>
    public void Register()
    {
        if (_cancel.CanBeCanceled)
        {
            _registration = _cancel.UnsafeRegister(static exchange => ((Http2Exchange)exchange!).Cancel(), this);
        }
    }

    /// <summary>Starts to send the content of a request whose header section was sent. Not under the lock.</summary>
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
        // Without a state machine when the content is there already.
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

    /// <summary>The caller has left.</summary>
    public void Cancel() => _connection.Do(static (_, exchange) => exchange.CancelLocked(), this);

    private void CancelLocked()
    {
        if (_error is null && !IsOver)
        {
            _connection.Session.Reset(this, IsRemoteClosed ? Http2ErrorCode.NoError : Http2ErrorCode.Cancel);
            Fail(new OperationCanceledException(_cancel));
            DropContent();
        }
    }

    /// <summary>Reads content of the response.</summary>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancel)
    {
        int count;
        bool isOver;
        lock (_connection.Lock)
        {
            if (HasContent)
            {
                count = TakeContent(buffer.Span);
                isOver = IsOver;
            }
            else if (_error is not null)
            {
                return ValueTask.FromException<int>(_error);
            }
            else if (IsRemoteClosed || _isDisposed)
            {
                _head!.Trailers = _trailers;
                return new(0);
            }
            else
            {
                _isReading = true;
                _readBuffer = buffer;
                _readCount = -1;
                _read.Reset();
                if (cancel.CanBeCanceled && cancel != _cancel)
                {
                    _readRegistration = cancel.UnsafeRegister(
                        static exchange => ((Http2Exchange)exchange!).Cancel(), this);
                }
                return new(this, _read.Version);
            }
        }
        if (isOver)
        {
            _registration.Unregister();
        }
        else
        {
            // What was read may have opened the window.
            _connection.Flush();
        }
        return new(count);
    }

    /// <summary>Nobody reads the response any more.</summary>
    public void Dispose() => _connection.Do(static (session, exchange) => exchange.DisposeLocked(session), this);

    /// <summary>Writes content of the request. Not under the lock.</summary>
    public ValueTask WriteAsync(ReadOnlyMemory<byte> content)
    {
        if (content.IsEmpty)
        {
            return default;
        }
        if (_error is { } error)
        {
            // Whoever can send the content again must not take it for sent.
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
        // The last frame can say that it is the last one.
        var isEnd = _contentSent == _request.ContentLength && _request.Trailers is null;
        return _connection.Write(this, content, isEnd) ? default : new ValueTask(this, _write.Version);
    }

    /// <summary>Writes out what was collected.</summary>
    public void Flush() => _connection.Flush();

    /// <summary>Takes content, under the lock, and keeps what cannot be sent yet.</summary>
    /// <returns>Whether it was sent whole, or need not be.</returns>
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

    /// <summary>Sends, under the lock, some of the content that waits.</summary>
    /// <param name="isDone">Whether nothing waits any more.</param>
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

    /// <summary>Completes, not under the lock, what somebody waits for.</summary>
    public void Signal()
    {
        UpstreamResponse? head = null;
        Exception? error;
        var completesRead = false;
        var completesWrite = false;
        var isUnwanted = false;
        var informs = false;
        bool isOver;
        bool hasAnswer;
        lock (_connection.Lock)
        {
            _isChanged = false;
            error = _error;
            if (_informational is not null && !_isInforming)
            {
                _isInforming = informs = true;
            }
            if (_isHeadDue && !_isInforming)
            {
                _isHeadDue = false;
                head = _head;
            }
            if (_isReading && (_readCount >= 0 || error is not null || IsRemoteClosed || _isDisposed))
            {
                _isReading = false;
                completesRead = true;
                _readBuffer = default;
                if (_readCount < 0 && error is null)
                {
                    _readCount = 0;
                    _head!.Trailers = _trailers;
                }
            }
            if (_isWriting && (_pending.IsEmpty || IsClosed))
            {
                _isWriting = false;
                completesWrite = true;
                _pending = default;
            }
            if (_isUnwantedDue)
            {
                _isUnwantedDue = false;
                isUnwanted = true;
            }
            isOver = IsOver;
            hasAnswer = _head is not null || error is not null;
        }
        if (isOver)
        {
            _registration.Unregister();
        }
        if (hasAnswer)
        {
            _mayContinue?.TrySetResult(false);
        }
        if (informs)
        {
            _ = InformAsync();
        }
        if (isUnwanted)
        {
            _request.ContentUnwanted?.Invoke(_request.State);
        }
        if (completesWrite)
        {
            if (error is null)
            {
                _write.SetResult(true);
            }
            else
            {
                _write.SetException(error);
            }
        }
        if (head is not null)
        {
            _response.TrySetResult(head);
        }
        else if (error is not null)
        {
            FailResponse(error);
        }
        if (completesRead)
        {
            _readRegistration.Unregister();
            if (_readCount >= 0)
            {
                _read.SetResult(_readCount);
            }
            else
            {
                _read.SetException(error!);
            }
        }
    }

    void IThreadPoolWorkItem.Execute() => Signal();

    int IValueTaskSource<int>.GetResult(short token) => _read.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _read.GetStatus(token);

    void IValueTaskSource<int>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _read.OnCompleted(continuation, state, token, flags);

    void IValueTaskSource.GetResult(short token) => _write.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _write.GetStatus(token);

    void IValueTaskSource.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _write.OnCompleted(continuation, state, token, flags);

    protected internal override void OnInformational(int status, FieldList fields)
    {
        if (status == 100)
        {
            _mayContinue?.TrySetResult(true);
        }
        else if (_request.OnInformational is not null)
        {
            (_informational ??= []).Enqueue((status, fields));
            Change();
        }
    }

    protected internal override void OnHead(int status, FieldList fields, long? contentLength, bool isEnd)
    {
        _head = new UpstreamResponse(status, fields)
        {
            ContentLength = contentLength,
            HasNoContent = isEnd,
            Version = HttpVersion.Version20,
            Content = new StreamedContent(new Http2ResponseStream(this)),
        };
        _isHeadDue = true;
        Change();
    }

    protected internal override void OnData(ReadOnlySpan<byte> content)
    {
        if (_isReading && _readBuffer.Length > 0)
        {
            // Right to where it is to go.
            var size = Math.Min(content.Length, _readBuffer.Length);
            content[..size].CopyTo(_readBuffer.Span);
            _readBuffer = _readBuffer[size..];
            _readCount = Math.Max(0, _readCount) + size;
            content = content[size..];
            _connection.Session.Consumed(this, size, content.IsEmpty);
        }
        else if (_isReading && _readCount < 0)
        {
            // An empty buffer waits until there is something.
            _readCount = 0;
        }
        Keep(content);
        Change();
    }

    protected internal override void OnEnd(FieldList? trailers)
    {
        _trailers = trailers;
        Change();
    }

    protected internal override void OnRequestUnwanted()
    {
        StopContent();
        Change();
    }

    protected internal override void OnFailed(StreamFailure failure) =>
        Fail(new UpstreamException(failure.Kind, failure.Sent, failure.Message, failure.Cause)
        {
            ConnectionWasReused = IsOnReusedConnection,
            BeforeAnyResponseByte = !HasAnyResponse,
            Http2ErrorCode = (long?)failure.Code,
        });

    private void Fail(Exception error)
    {
        if (_error is not null)
        {
            return;
        }
        _error = error;
        // A head that was not handed over yet is not handed over any more.
        _isHeadDue = false;
        Change();
    }

    private void FailResponse(Exception error)
    {
        if (error is OperationCanceledException)
        {
            _response.TrySetCanceled(_cancel);
        }
        else
        {
            _response.TrySetException(error);
        }
    }

    private void StopContent()
    {
        if (!_isUnwanted)
        {
            _isUnwanted = true;
            _isUnwantedDue = _request.Content is not null;
        }
    }

    private void Change()
    {
        if (!_isChanged)
        {
            _isChanged = true;
            _connection.Changed(this);
        }
    }

    private void Keep(ReadOnlySpan<byte> content)
    {
        if (content.IsEmpty)
        {
            return;
        }
        if (_isDisposed)
        {
            _connection.Session.Consumed(this, content.Length, isWaiting: false);
            return;
        }
        if (_buffer.Length - _end < content.Length)
        {
            MakeRoom(content.Length);
        }
        content.CopyTo(_buffer.AsSpan(_end));
        _end += content.Length;
    }

    private void MakeRoom(int size)
    {
        var kept = _buffer.AsSpan(_start, _end - _start);
        if (_buffer.Length - kept.Length >= size)
        {
            kept.CopyTo(_buffer);
        }
        else
        {
            // The window of the stream bounds it.
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(1024, Math.Max(kept.Length + size, 2 * kept.Length)));
            kept.CopyTo(larger);
            ReturnBuffer();
            _buffer = larger;
            _request.Account?.Add(larger.Length);
        }
        _end -= _start;
        _start = 0;
    }

    private int TakeContent(Span<byte> destination)
    {
        var count = Math.Min(destination.Length, _end - _start);
        _buffer.AsSpan(_start, count).CopyTo(destination);
        _start += count;
        if (_start == _end)
        {
            _start = _end = 0;
            ReturnBuffer();
        }
        _connection.Session.Consumed(this, count, !HasContent);
        return count;
    }

    private void DropContent()
    {
        _start = _end = 0;
        ReturnBuffer();
    }

    private void ReturnBuffer()
    {
        if (_buffer.Length > 0)
        {
            _request.Account?.Add(-_buffer.Length);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = [];
        }
    }

    private void DisposeLocked(Http2Session session)
    {
        if (_isDisposed)
        {
            return;
        }
        _isDisposed = true;
        DropContent();
        if (!IsClosed)
        {
            // Without the rest of the request after a complete response; else because nobody waits for it.
            session.Reset(this, IsRemoteClosed ? Http2ErrorCode.NoError : Http2ErrorCode.Cancel);
            StopContent();
        }
        Change();
    }

    /// <summary>Hands on informational responses, one after the other, and then what has come meanwhile.</summary>
    private async Task InformAsync()
    {
        while (true)
        {
            (int Status, FieldList Fields) next;
            lock (_connection.Lock)
            {
                if (!_informational!.TryDequeue(out next))
                {
                    _informational = null;
                    _isInforming = false;
                    break;
                }
            }
            try
            {
                await _request.OnInformational!(_request.State, next.Status, next.Fields);
            }
            catch (Exception)
            {
                // Whoever takes them no longer does; the final response will show it.
            }
        }
        Signal();
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
                        // There is a final response, which came without the content.
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
