using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http1;

// Exchanges follow one another. Each has two halves, which run at the same time and end in either order:
//
//   request    SendAsync ──▶ content (SendContentAsync) ──▶ Http1RequestStream ──▶ OutputBuffer ──▶ channel
//   response   SendAsync ◀── Http1ResponseStream ◀── input buffer ◀── channel
//
// When both have ended, the connection is idle again. While it is idle, a read is pending: it notices when the peer
// closes the connection, and becomes the first read of the next response.

/// <summary>An HTTP/1.1 connection to an endpoint.</summary>
public sealed partial class Http1Connection : IUpstreamConnection, IValueTaskSource<int>
{
    private const int BufferSize = 4096;
    private const int MaxInformational = 64;

    private readonly IConnectionOwner _owner;
    private readonly Http1Options _options;
    private readonly ResponseHeadParser _parser;
    private int _state;
    private int _closed;
    private volatile bool _isRetired;
    private long _idleSince = Environment.TickCount64;
    private long _requests;

    // Of the current exchange.
    private UpstreamRequest? _request;
    private CancellationToken _cancel;
    private CancellationTokenRegistration _registration;
    private int _openHalves;
    private bool _receivedAny;
    private bool _isPersistent;
    private volatile bool _requestEnded;
    private volatile bool _discardsContent;
    private volatile Exception? _contentError;

    public Http1Connection(ByteChannel channel, Http1Options options, IConnectionOwner owner)
    {
        Channel = channel;
        _options = options;
        _owner = owner;
        _parser = new ResponseHeadParser(options.MaxHeadBytes);
        _completeReadAhead = CompleteReadAhead;
    }

    private enum State
    {
        Idle,
        Busy,
        Closed,
    }

    public int FreeStreams => Volatile.Read(ref _state) == (int)State.Idle && !_isRetired ? 1 : 0;

    public int ActiveStreams => Volatile.Read(ref _state) == (int)State.Busy ? 1 : 0;

    public long? IdleSince => Volatile.Read(ref _state) == (int)State.Idle ? Volatile.Read(ref _idleSince) : null;

    public long? MaxIdle { get; private set; }

    public EventLoop? Loop => Channel.Loop;

    internal ByteChannel Channel { get; }

    internal OutputBuffer Output { get; } = new(BufferSize);

    /// <summary>Whether the endpoint accepts no more content, so that writes of it are ignored.</summary>
    internal bool DiscardsContent => _discardsContent;

    internal Http1Options Options => _options;

    public bool TryReserve() =>
        !_isRetired
        && !_readAheadCompleted
        && Interlocked.CompareExchange(ref _state, (int)State.Busy, (int)State.Idle) == (int)State.Idle;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<UpstreamResponse> SendAsync(UpstreamRequest request, CancellationToken cancel)
    {
        if (_readAheadCompleted)
        {
            // It closed between being reserved and being used.
            Close();
            throw Failure(FailureKind.Closed, SentState.NothingSent, "the connection was closed");
        }
        Begin(request, cancel);
        try
        {
            RequestHeadEncoder.Encode(request, Output);
        }
        catch (UpstreamException)
        {
            Output.Clear();
            _isPersistent = true;
            EndHalf();
            EndHalf();
            throw;
        }
        try
        {
            var waitsForContinue = false;
            if (request.Content is null)
            {
                await FlushAsync();
                _requestEnded = true;
                EndHalf();
            }
            else if (request.ExpectsContinue)
            {
                await FlushAsync();
                waitsForContinue = true;
            }
            else
            {
                _ = SendContentAsync(request);
            }
            for (var informational = 0; ; informational++)
            {
                waitsForContinue = await ReadHeadAsync(request, waitsForContinue);
                var status = _parser.StatusCode;
                if (status == 101 || status >= 200)
                {
                    break;
                }
                if (informational == MaxInformational)
                {
                    throw Failure(FailureKind.MalformedResponse, "it has too many informational responses");
                }
                if (status != 100)
                {
                    if (request.OnInformational is { } pass)
                    {
                        await pass(request.State, status, _parser.Fields);
                    }
                }
                else if (waitsForContinue)
                {
                    waitsForContinue = false;
                    _ = SendContentAsync(request);
                }
            }
            if (waitsForContinue)
            {
                // The endpoint does not want the content, and would mistake the next request for it.
                _requestEnded = true;
                EndHalf();
            }
            return Respond(request, mayPersist: !waitsForContinue);
        }
        catch (Exception e)
        {
            throw Fail(e);
        }
    }

    public void Retire()
    {
        _isRetired = true;
        if (Interlocked.CompareExchange(ref _state, (int)State.Closed, (int)State.Idle) == (int)State.Idle)
        {
            Close();
        }
    }

    /// <summary>Sends the collected bytes. Errors are left to the response.</summary>
    internal ValueTask FlushAsync()
    {
        if (Output.Count == 0)
        {
            return default;
        }
        if (_discardsContent)
        {
            Output.Clear();
            return default;
        }
        var write = Channel.WriteAsync(Output.Memory);
        if (!write.IsCompletedSuccessfully)
        {
            return AwaitAsync(write);
        }
        Output.Clear();
        return default;

        async ValueTask AwaitAsync(ValueTask write)
        {
            await AwaitWriteAsync(write);
            Output.Clear();
        }
    }

    /// <summary>Sends the bytes. Errors are left to the response.</summary>
    internal ValueTask WriteAsync(ReadOnlyMemory<byte> bytes) => AwaitWriteAsync(Channel.WriteAsync(bytes));

    /// <summary>The response has been received to its end.</summary>
    internal void EndResponse()
    {
        if (!_isPersistent && !_requestEnded)
        {
            StopContent();
            Close();
        }
        EndHalf();
    }

    /// <summary>Closes the connection, and returns the exception for a response that broke off or failed.</summary>
    internal Exception Fail(Exception e)
    {
        Close();
        _registration.Unregister();
        return _cancel.IsCancellationRequested ? new OperationCanceledException(_cancel)
            : _contentError is { } content ? new UpstreamException(
                FailureKind.ContentFailed, SentState.MayHaveBeenProcessed, "the content of the request failed", content)
            : e is UpstreamException ? e
            : Failure(FailureKind.Closed, SentState.MayHaveBeenProcessed, "the connection was closed", e);
    }

    internal UpstreamException Failure(FailureKind kind, string message) =>
        Failure(kind, SentState.MayHaveBeenProcessed, message);

    internal UpstreamException Ended() => Failure(FailureKind.Closed, "the connection ended before the response");

    /// <summary>Closes the connection after it was used for another protocol.</summary>
    internal void EndUpgrade()
    {
        _registration.Unregister();
        Close();
    }

    internal void Close()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
        {
            return;
        }
        Volatile.Write(ref _state, (int)State.Closed);
        Channel.Abort();
        _ = DisposeChannelAsync();
        _owner.Retired(this);
        _owner.Closed(this);
    }

    private async Task DisposeChannelAsync()
    {
        try
        {
            await Channel.DisposeAsync();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // The channel was already unusable.
        }
    }

    private void Begin(UpstreamRequest request, CancellationToken cancel)
    {
        _request = request;
        _cancel = cancel;
        _openHalves = 2;
        _receivedAny = _isPersistent = _requestEnded = _discardsContent = false;
        _contentError = null;
        _registration = cancel.UnsafeRegister(static self => ((Http1Connection)self!).Close(), this);
    }

    /// <summary>
    /// Reads the head of a response. If the request waits for a 100, sends the content when none arrives in time.
    /// </summary>
    /// <returns>Whether the request still waits for a 100.</returns>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> ReadHeadAsync(UpstreamRequest request, bool waitsForContinue)
    {
        _parser.Reset();
        while (true)
        {
            switch (_parser.Parse(Buffered, out var consumed))
            {
                case ParseStatus.Complete:
                    Consume(consumed);
                    return waitsForContinue;
                case ParseStatus.Malformed:
                    throw Failure(FailureKind.MalformedResponse, _parser.Error!);
                case ParseStatus.TooLarge:
                    throw Failure(
                        FailureKind.HeadTooLarge, $"the response header exceeds {_options.MaxHeadBytes} bytes");
                default:
                    Consume(consumed);
                    break;
            }
            bool hasMore;
            if (waitsForContinue)
            {
                var fill = FillAsync().AsTask();
                if (await Task.WhenAny(fill, Task.Delay(_options.ContinueTimeout)) != fill)
                {
                    waitsForContinue = false;
                    _ = SendContentAsync(request);
                }
                hasMore = await fill;
            }
            else
            {
                hasMore = await FillAsync();
            }
            if (!hasMore)
            {
                throw Ended();
            }
        }
    }

    private UpstreamResponse Respond(UpstreamRequest request, bool mayPersist)
    {
        var status = _parser.StatusCode;
        var fields = _parser.Fields;
        if (status == 101)
        {
            return Switch(request, fields);
        }
        var framing = ResponseFraming.Of(request.Method, status, _parser.IsHttp10, fields);
        if (framing.Error is { } error)
        {
            throw Failure(FailureKind.MalformedResponse, error);
        }
        _isPersistent = mayPersist && framing.IsPersistent;
        MaxIdle = framing.KeepAliveSeconds is { } seconds ? Math.Max(0, 1000L * seconds - 1000) : null;
        var response = new UpstreamResponse(status, fields)
        {
            ContentLength = framing.ContentLength,
            HasNoContent = framing.Framing == ContentFraming.None,
        };
        if (IsAscii(_parser.ReasonPhrase))
        {
            response.ReasonPhrase = _parser.ReasonPhrase;
        }
        if (framing.Framing != ContentFraming.None)
        {
            response.Content = new StreamedContent(new Http1ResponseStream(this, response, framing));
        }
        if (framing.Framing == ContentFraming.None)
        {
            EndResponse();
        }
        return response;
    }

    /// <summary>The connection is no longer HTTP (RFC 9110, 7.8).</summary>
    private UpstreamResponse Switch(UpstreamRequest request, FieldList fields)
    {
        if (request.Upgrade is null
            || !fields.TryGet("Upgrade", out var protocol)
            || !protocol.Equals(request.Upgrade, StringComparison.OrdinalIgnoreCase))
        {
            throw Failure(FailureKind.MalformedResponse, "it switches to a protocol that was not asked for");
        }
        var response = new UpstreamResponse(101, fields)
        {
            Content = new StreamedContent(new Http1UpgradedStream(this)),
        };
        foreach (ref readonly var field in fields.AsSpan())
        {
            response.Headers.TryAddWithoutValidation(field.Name, field.Value);
        }
        return response;
    }

    private async Task SendContentAsync(UpstreamRequest request)
    {
        try
        {
            var stream = new Http1RequestStream(this, request.ContentLength);
            await request.Content!.CopyToAsync(stream, null, _cancel);
            await stream.EndAsync(request);
        }
        catch (Exception e)
        {
            if (!_discardsContent)
            {
                _contentError = e;
            }
            Close();
        }
        _requestEnded = true;
        EndHalf();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask AwaitWriteAsync(ValueTask write)
    {
        try
        {
            await write;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The endpoint may have responded early and closed the connection; the response shows whether it did.
            _isPersistent = false;
            StopContent();
        }
    }

    private void StopContent()
    {
        _discardsContent = true;
        if (_request is { ContentUnwanted: { } stop } request)
        {
            stop(request.State);
        }
    }

    private void EndHalf()
    {
        if (Interlocked.Decrement(ref _openHalves) == 0)
        {
            Release();
        }
    }

    private void Release()
    {
        _request = null;
        _requests++;
        // A cancellation in progress might close the connection in the middle of the next exchange. (It is normal that
        // there is nothing to unregister when the exchange has ended before its request.)
        var isCanceled = !_registration.Unregister() && _cancel.IsCancellationRequested;
        if (isCanceled || !_isPersistent || _discardsContent || _readAheadCompleted || _start != _end)
        {
            Close();
        }
        if (Volatile.Read(ref _closed) != 0)
        {
            return;
        }
        _cancel = default;
        Volatile.Write(ref _idleSince, Environment.TickCount64);
        Volatile.Write(ref _state, (int)State.Idle);
        if (!_readAheadPending)
        {
            ReadAhead();
        }
        if (_isRetired)
        {
            Retire();
        }
        else
        {
            _owner.Available(this);
        }
    }

    private UpstreamException Failure(FailureKind kind, SentState sent, string message, Exception? cause = null) =>
        new(kind, sent, message, cause)
        {
            ConnectionWasReused = _requests > 0,
            BeforeAnyResponseByte = !_receivedAny,
        };

    // The server would replace non-ASCII characters with question marks; the phrase is optional.
    private static bool IsAscii(string? text) => text is not null && System.Text.Ascii.IsValid(text);
}
