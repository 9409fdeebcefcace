using System.Globalization;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Wire.Sockets;
using Kedge.Wire.Upstream;
using Microsoft.Net.Http.Headers;
using Endpoint = Kedge.Host.Backends.Endpoint;

namespace Kedge.Host.Forwarding;

/// <summary>
/// One request and its response. To the forwarder, it is the client that sends the request; it picks the endpoint, and
/// another one if it cannot connect, without the forwarder noticing.
/// </summary>
internal sealed partial class Exchange : HttpMessageInvoker
{
    private static readonly HttpMessageHandler Unused = new NoHandler();

    // Shared by all exchanges: each delegate gets its exchange as the state.
    private static readonly Func<object?, FieldList?> ReadTrailers =
        static exchange => RequestTrailers.Read(((Exchange)exchange!)._context, ((Exchange)exchange!).Claims);
    private static readonly Action<object?> StopContent = static exchange => ((Exchange)exchange!)._content!.Stop();
    private static readonly Func<object?, int, FieldList, ValueTask> SendInformational =
        static (exchange, status, fields) => ((Exchange)exchange!).SendInformationalAsync(status, fields);

    private readonly HttpContext _context;
    private readonly Destination _destination;
    private readonly string _query;
    private readonly ILogger _logger;
    private readonly ProxyTelemetry _telemetry;
    private UpstreamRequest? _request;
    private RequestContent? _content;
    private Endpoint? _endpoint;
    private readonly PolicyRetries? _retries;
    private CancellationTokenSource? _attemptLimit;

    /// <param name="query">
    /// The query as the caller sent it, with its leading <c>?</c>; empty when there is none.
    /// </param>
    /// <param name="destination">The destination, which the exchange leaves when it ends.</param>
    /// <param name="record">The record of the request, with its authority and path.</param>
    public Exchange(
        HttpContext context,
        string query,
        in Destination destination,
        RequestRecord record,
        ProxyTelemetry telemetry,
        DrainClock drain,
        ILogger logger)
        : base(Unused, disposeHandler: false)
    {
        _context = context;
        _destination = destination;
        _query = query;
        _telemetry = telemetry;
        _logger = logger;
        Record = record;
        Progress = new ExchangeProgress(isExempt: record.Protocol.IsGrpc);
        if (destination is { Policies.Retry.Value: { } policy, Backend: { } backend })
        {
            var request = context.Request;
            _retries = new PolicyRetries(
                policy,
                backend,
                policy.Allows(request.Method, request.Headers.ContainsKey("Idempotency-Key")),
                drain,
                telemetry);
            backend.Budget.First();
        }
    }

    public RequestRecord Record { get; }

    /// <summary>Whether the request asks for a WebSocket.</summary>
    public bool IsUpgrade { get; init; }

    /// <summary>Charged for the memory that is held for the caller; null = not charged.</summary>
    public IMemoryAccount? Account { get; init; }

    public ExchangeProgress Progress { get; }

    public Protocol Protocol => Record.Protocol;

    public UpstreamClient Client => _destination.Client;

    /// <summary>What the route changes; null = nothing.</summary>
    public Filters? Filters => _destination.Filters;

    /// <summary>What the endpoint receives of callers' tokens; null = nothing.</summary>
    public ForwardedClaims? Claims => _destination.Claims;

    /// <summary>The copies of the request; null = none.</summary>
    public RequestMirrors? Mirrors => _destination.Mirrors;

    /// <summary>What the route says about timeouts and retries; null = nothing.</summary>
    public Policies? Policies => _destination.Policies;

    /// <summary>
    /// How often the request was sent; null unless the route has retries and it was sent more than once.
    /// </summary>
    public string? ReportedAttempts => _retries is not null && Record.Attempts > 1 ? $"{Record.Attempts}" : null;

    /// <summary>Null for an ad-hoc target.</summary>
    public string? BackendName => _destination.Backend?.Name;

    /// <summary>Whether a part of the request remains to be forwarded.</summary>
    public bool IsSendingRequest => _content is { IsSending: true };

    /// <summary>Whether the request has a body that has not been read to its end.</summary>
    public bool HasUnreadRequest => _content is { IsComplete: false };

    /// <summary>Whether the whole request can be sent, for the first time or again.</summary>
    private bool IsReplayable => _content is not { IsReplayable: false };

    // RFC 8441: the caller takes any success status for the start of a tunnel.
    private bool IsExtendedConnect => HttpMethods.IsConnect(_context.Request.Method);

    /// <summary>Prepares the request to the endpoint, without its fields.</summary>
    /// <param name="message">The forwarder's message, with content if the request has a body.</param>
    public UpstreamRequest Prepare(HttpRequestMessage message)
    {
        var incoming = _context.Request;
        var path = _destination.Path ?? Record.Path;
        if (!IsUpgrade && message.Content is { } copying)
        {
            // Plain text means HTTP/1.1, over which an endpoint processes whatever it receives.
            var kept = Client.Protocol.IsGrpc || Client.IsTls ? RequestReplay.Window : 0;
            if (_retries is { MaxBody: var max } && !(incoming.ContentLength > max))
            {
                kept = Math.Max(kept, max);
            }
            var replay = kept > 0 ? new RequestReplay(kept, Account) : null;
            var body = new RequestBody(
                incoming.BodyReader, replay, Progress, GrpcMessages.OfRequest(Record), Mirrors, Account);
            incoming.Body = body;
            _content = new RequestContent(copying, body, replay);
        }
        return _request = new UpstreamRequest
        {
            // The forwarder's method would be GET for every request for an upgrade.
            Method = IsExtendedConnect ? HttpMethods.Get : incoming.Method,
            Target = _query.Length == 0 ? path : string.Concat(path, _query),
            Scheme = Client.Scheme,
            Authority = Filters is { Host.Length: > 0 } rewrite ? rewrite.Host : Record.Authority,
            Content = _content,
            ContentLength = incoming.ContentLength,
            ExpectsContinue = _content is not null
                && string.Equals(incoming.Headers.Expect, "100-continue", StringComparison.OrdinalIgnoreCase),
            State = this,
            Account = Account,
            Trailers = _content is not null && incoming.ContentLength is null ? ReadTrailers : null,
            // gRPC has no informational responses.
            OnInformational = Protocol.IsGrpc ? null : SendInformational,
            ContentUnwanted = _content is null ? null : StopContent,
        };
    }

    public override async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage message, CancellationToken cancellationToken)
    {
        var request = _request!;
        if (IsUpgrade)
        {
            TakeUpgrade(message, request);
        }
        var attempts = new Attempts(HasIdempotentHead);
        var hasAuthority = request.Authority.Length > 0;
        var observer = _destination.Backend?.Connections ?? _telemetry.AdhocDialer;
        var retries = _retries;
        if (retries is not null && _content is not null)
        {
            _content.Cancellation = cancellationToken;
        }
        List<Endpoint>? tried = null;
        var next = Pick(null);
        UpstreamException? failure = null;
        while (next is { } endpoint)
        {
            // Step 5: send the request to an endpoint. docs/matching.md#attempts lists when it is sent again.
            BeginAttempt(endpoint);
            if (!hasAuthority)
            {
                request.Authority = endpoint.Name;
            }
            var cancel = cancellationToken;
            if (Policies is not null)
            {
                request = PrepareAttempt(request, ref cancel);
            }
            RetryCause cause;
            var status = 0;
            UpstreamResponse? response = null;
            try
            {
                response = await Client.SendAsync(endpoint, request, attempts.OnNewConnection, observer, cancel);
                if (IsExtendedConnect && response.IsSuccessStatusCode)
                {
                    response.Dispose();
                    throw new UpstreamException(
                        FailureKind.MalformedResponse, SentState.MayHaveBeenProcessed, "it does not switch protocols");
                }
                RecordOutcome(endpoint, response);
                if (retries is null || !retries.Names(response, out status))
                {
                    retries?.End(succeeded: true);
                    return Accept(response, message);
                }
                cause = RetryCause.Status;
            }
            catch (UpstreamException e) when (!cancellationToken.IsCancellationRequested)
            {
                failure = e;
                switch (attempts.Next(e, IsReplayable))
                {
                    case NextAttempt.OtherEndpoint:
                        if (e.Kind == FailureKind.Connect)
                        {
                            ConnectFailed(endpoint, e);
                        }
                        (tried ??= []).Add(endpoint);
                        next = Pick(tried);
                        continue;
                    case NextAttempt.OtherOrSameEndpoint:
                        (tried ??= []).Add(endpoint);
                        next = Pick(tried) ?? endpoint;
                        continue;
                    case NextAttempt.SameEndpoint:
                        continue;
                }
                if (retries is null || !retries.Names(e))
                {
                    break;
                }
                RecordFailure();
                cause = RetryCause.Reset;
            }
            catch (OperationCanceledException e) when (HasTimedOut && !cancellationToken.IsCancellationRequested)
            {
                failure = new UpstreamException(
                    FailureKind.Closed, SentState.MayHaveBeenProcessed, LocalReply.AttemptTimedOut.Reason, e);
                RecordFailure();
                if (retries is null || !retries.NamesTimeout)
                {
                    break;
                }
                cause = RetryCause.AttemptTimeout;
            }
            // Reached only if the route has retries.
            var isKept = _content?.IsKept(retries.MaxBody) != false;
            var pause = retries.Next(cause, status, response, isKept, Progress.Left);
            if (pause is null)
            {
                if (response is not null)
                {
                    return Accept(response, message);
                }
                break;
            }
            NoteAttempt(endpoint, cause, status);
            if (response is not null)
            {
                await DiscardAsync(response);
            }
            await Task.Delay(pause.Value, cancellationToken);
            (tried ??= []).Add(endpoint);
            next = Pick(tried);
            if (next is null)
            {
                // All were tried: take whichever is next, but avoid the same one if possible.
                tried = [endpoint];
                next = Pick(tried) ?? endpoint;
            }
        }
        retries?.End(succeeded: false);
        _failure ??= HasTimedOut ? LocalReply.AttemptTimedOut : ReplyTo(failure);
        throw failure ?? new UpstreamException(FailureKind.Connect, SentState.NothingSent, "no endpoint");
    }

    /// <summary>Releases what the exchange holds.</summary>
    public void End()
    {
        _destination.Leave();
        _endpoint?.RequestEnded();
        _content?.End();
        Progress.End();
        _attemptLimit?.Dispose();
    }

    /// <summary>Ends the time limits: the connection is no longer HTTP, and may take any time from now on.</summary>
    public void EndTimeouts()
    {
        Progress.ClearDeadline();
        _attemptLimit?.CancelAfter(Timeout.InfiniteTimeSpan);
    }

    /// <summary>The endpoint of the next attempt; null when all were tried.</summary>
    private Endpoint? Pick(List<Endpoint>? tried)
    {
        using var span = Tracing.StartPicking(Record);
        var endpoint = _destination.Endpoints.Pick(_destination.Ticket, tried);
        if (span is not null)
        {
            Tracing.Picked(span, Record, endpoint?.Name);
        }
        return endpoint;
    }

    private void BeginAttempt(Endpoint endpoint)
    {
        Record.Attempts++;
        if (!ReferenceEquals(_endpoint, endpoint))
        {
            _endpoint?.RequestEnded();
            endpoint.RequestStarted();
            _endpoint = endpoint;
            Record.Endpoint = endpoint.Name;
        }
    }

    /// <summary>Prepares an attempt of a request whose route has policies.</summary>
    private UpstreamRequest PrepareAttempt(UpstreamRequest request, ref CancellationToken cancel)
    {
        var timeout = Policies!.AttemptTimeout;
        if (Record.Attempts > 1)
        {
            request = request.ForNextAttempt();
        }
        if (timeout > TimeSpan.Zero)
        {
            _attemptLimit?.Dispose();
            var limit = _attemptLimit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            cancel = limit.Token;
            request.Sending = () => limit.CancelAfter(timeout);
        }
        if (Protocol.IsGrpc)
        {
            var left = timeout > TimeSpan.Zero && timeout < Progress.Left ? timeout : Progress.Left;
            if (left < TimeSpan.MaxValue)
            {
                request.Fields.Remove(GrpcHeaders.Timeout);
                request.Fields.Add(GrpcHeaders.Timeout, GrpcTimeout.Format(left));
            }
        }
        if (_retries is not null && _content is { } content)
        {
            var attempt = Record.Attempts;
            content.Hold(attempt);
            request.ContentUnwanted = _ => content.Stop(attempt);
        }
        return request;
    }

    /// <summary>Accepts a response, which is then forwarded to the caller.</summary>
    private UpstreamResponse Accept(UpstreamResponse response, HttpRequestMessage message)
    {
        _content?.ResponseReceived();
        response.RequestMessage = message;
        return response;
    }

    /// <summary>
    /// Drops a response. Its connection stays open if the whole response has already arrived and the request has ended.
    /// </summary>
    private async ValueTask DiscardAsync(UpstreamResponse response)
    {
        const int maxReads = 16;
        if (!response.HasNoContent && !IsSendingRequest)
        {
            var body = response.Content.ReadAsStream(CancellationToken.None);
            // Not from a pool: a read may still write to it after the response has been dropped.
            var buffer = new byte[4096];
            for (var i = 0; i < maxReads; i++)
            {
                var read = body.ReadAsync(buffer, CancellationToken.None);
                if (!read.IsCompletedSuccessfully || await read == 0)
                {
                    break;
                }
            }
        }
        response.Dispose();
    }

    private void NoteAttempt(Endpoint endpoint, RetryCause cause, int status)
    {
        var result = cause switch
        {
            RetryCause.Reset => "reset",
            RetryCause.AttemptTimeout => "timeout",
            _ => Protocol.IsGrpc ? GrpcStatuses.NameOf(status) : status.ToString(CultureInfo.InvariantCulture),
        };
        var tried = $"{endpoint.Name} ({result})";
        Record.Tried = Record.Tried is null ? tried : $"{Record.Tried}, {tried}";
    }

    /// <summary>
    /// Whether the method is idempotent (RFC 9110, 9.2.2) and there is no body, so that a repetition loses nothing.
    /// </summary>
    private bool HasIdempotentHead =>
        _content is null
        && _context.Request.Method is { } method
        && (HttpMethods.IsGet(method) || HttpMethods.IsHead(method) || HttpMethods.IsPut(method)
            || HttpMethods.IsDelete(method) || HttpMethods.IsOptions(method) || HttpMethods.IsTrace(method));

    /// <summary>
    /// Copies the fields of an upgrade, which the forwarder has added to its own message. It compares the key in that
    /// message with the response.
    /// </summary>
    private static void TakeUpgrade(HttpRequestMessage message, UpstreamRequest request)
    {
        foreach (var (name, values) in message.Headers.NonValidated)
        {
            var value = values.ToString();
            if (!request.Fields.TryGet(name, out _))
            {
                request.Fields.Add(name, value);
            }
            if (name.Equals(HeaderNames.Upgrade, StringComparison.OrdinalIgnoreCase))
            {
                request.Upgrade = value;
            }
        }
    }

    private ValueTask SendInformationalAsync(int status, FieldList fields) =>
        _request!.ExpectsContinue ? default : InformationalResponse.SendAsync(_context, status, fields);

    private sealed class NoHandler : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken) =>
            throw new NotSupportedException("an exchange sends through the connections of its client");
    }
}
