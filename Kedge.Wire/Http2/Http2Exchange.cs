using System.Diagnostics.CodeAnalysis;
using System.Threading.Tasks.Sources;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

// One request and its response. The connection's lock guards all fields. What the session reports is recorded under it;
// operations that wait for that are completed after its release, in Signal:
//
//   request    content ──▶ Http2RequestStream ──▶ Offer, TakeTurn ──▶ session
//   response   session ──▶ OnHead, OnData, OnEnd ──▶ Signal ──▶ SendAsync, Http2ResponseStream

/// <summary>One request and its response on an <see cref="Http2Connection"/>.</summary>
[SuppressMessage(
    "Design", "CA1001:Types that own disposable fields should be disposable", Justification = "The caller owns it.")]
internal sealed partial class Http2Exchange
    : Http2StreamState, IThreadPoolWorkItem, IValueTaskSource<int>, IValueTaskSource
{
    private readonly Http2Connection _connection;
    private readonly UpstreamRequest _request;
    private readonly CancellationToken _cancel;
    private readonly TaskCompletionSource<UpstreamResponse> _response = new();
    private CancellationTokenRegistration _registration;

    private bool _isChanged;

    // The failure that current and later operations report.
    private Exception? _error;

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

    /// <summary>Whether the exchange has failed, so that it need not be opened.</summary>
    public bool HasFailed => _error is not null;

    /// <summary>Whether the stream is closed and nothing is left to deliver.</summary>
    private bool IsOver => IsClosed && (_error is not null || (!_isHeadDue && !HasContent));

    /// <summary>Fails the request, which was not sent. Call it under the lock.</summary>
    public void Refuse(FailureKind kind, string message) =>
        OnFailed(new StreamFailure(kind, SentState.NothingSent, message));

    /// <summary>Registers for cancellation. Call it before the exchange is opened, and not under the lock.</summary>
    public void Register()
    {
        if (_cancel.CanBeCanceled)
        {
            _registration = _cancel.UnsafeRegister(static exchange => ((Http2Exchange)exchange!).Cancel(), this);
        }
    }

    /// <summary>Cancels the exchange: the caller has left.</summary>
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

    /// <summary>The caller no longer reads the response.</summary>
    public void Dispose() => _connection.Do(static (session, exchange) => exchange.DisposeLocked(session), this);

    /// <summary>Completes the operations that wait. Do not call it under the lock.</summary>
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
        // A head that the caller has not received yet is dropped.
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

    private void Change()
    {
        if (!_isChanged)
        {
            _isChanged = true;
            _connection.Changed(this);
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
            // After a complete response, the rest of the request is not needed; before that, the response is not
            // wanted.
            session.Reset(this, IsRemoteClosed ? Http2ErrorCode.NoError : Http2ErrorCode.Cancel);
            StopContent();
        }
        Change();
    }
}
