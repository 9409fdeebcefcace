using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Http.Features;
using Endpoint = Kedge.Host.Backends.Endpoint;

namespace Kedge.Host.Forwarding;

/// <summary>Where an exchange's request may go.</summary>
/// <param name="Name">For messages: a backend, or an ad-hoc name.</param>
/// <param name="Ticket">The request's turn with the balancer.</param>
/// <param name="Backend">Which the request has entered, and leaves when it is over; null for an ad-hoc target.</param>
internal readonly record struct Destination(
    UpstreamClient Client, EndpointSet Endpoints, HealthPolicy Policy, string Name, ulong Ticket, Backend? Backend);

/// <summary>
/// One request and its answer on their way. To the forwarder it is what sends the request: it picks the endpoint, and when
/// no connection can be made the next one, before the forwarder hears of it.
/// </summary>
internal sealed class Exchange : HttpMessageInvoker
{
    private static readonly HttpMessageHandler Unused = new NoHandler();

    // The path is canonical already, and what was matched is what is forwarded.
    private static readonly UriCreationOptions Verbatim = new() { DangerousDisablePathAndQueryCanonicalization = true };

    private readonly HttpContext _context;
    private readonly ProxySettings _settings;
    private readonly Destination _destination;
    private readonly string _path;
    private readonly string _query;
    private readonly ILogger _logger;
    private readonly ProxyTelemetry _telemetry;
    private HttpContent? _content;
    private Endpoint? _endpoint;
    private long _lastMove = Environment.TickCount64;
    private volatile bool _isReadingRequest;

    public Exchange(
        HttpContext context, in RequestView view, in Destination destination, RequestRecord record,
        ProxyTelemetry telemetry, ProxySettings settings, ILogger logger)
        : base(Unused, disposeHandler: false)
    {
        _context = context;
        _settings = settings;
        _destination = destination;
        _path = view.Path;
        _query = view.Query;
        _logger = logger;
        Authority = view.Authority;
        IsGrpc = view.IsGrpc;
        IsExemptFromInactivity = view.IsGrpc;
        Record = record;
        _telemetry = telemetry;
        Transformer = new ExchangeTransformer(this);
    }

    public ExchangeTransformer Transformer { get; }

    /// <summary>As the caller wrote it.</summary>
    public string Authority { get; }

    public bool IsGrpc { get; }

    public string RequestId => Record.RequestId;

    public RequestRecord Record { get; }

    /// <summary>The span of this exchange; null when nobody traces.</summary>
    public Activity? Span { get; set; }

    /// <summary>Null for an ad-hoc target.</summary>
    public string? BackendName => _destination.Backend?.Name;

    public UpstreamClient Client => _destination.Client;

    /// <summary>Where the request went last; null before the first try.</summary>
    public Endpoint? Endpoint => _endpoint;

    public string Scheme => _context.Request.Scheme;

    public string PeerText =>
        _context.Connection.RemoteIpAddress is { } address ? ExchangeHeaders.Plain(address).ToString() : "unknown";

    /// <summary>The caller's verified certificate, if the backend is to hear of it and there is one.</summary>
    public X509Certificate2? ClientCertificate => _settings.ForwardClientCert ? _context.Connection.ClientCertificate : null;

    /// <summary>Whether what the peer says of earlier hops is believed.</summary>
    public bool PeerIsTrusted
    {
        get
        {
            var trusted = _settings.TrustedProxies;
            if (trusted.Count == 0 || _context.Connection.RemoteIpAddress is not { } address)
            {
                return false;
            }
            address = ExchangeHeaders.Plain(address);
            for (var i = 0; i < trusted.Count; i++)
            {
                if (trusted[i].Contains(address))
                {
                    return true;
                }
            }
            return false;
        }
    }

    /// <summary>The answer instead of the backend's, when the exchange was ended or never came to one; null otherwise.</summary>
    public LocalReply? Failure { get; private set; }

    /// <summary>What stood behind the failure.</summary>
    public Exception? Cause { get; private set; }

    /// <summary>Cancels the exchange.</summary>
    public CancellationTokenSource? Cancellation { get; set; }

    /// <summary>Whether the caller of this gRPC call set a deadline, which then is what cancels it.</summary>
    public bool HasDeadline { get; set; }

    public bool DeadlineHasPassed => HasDeadline && Cancellation is { IsCancellationRequested: true };

    /// <summary>When a byte of the request was read or one of the response written last, as <see cref="Environment.TickCount64"/>.</summary>
    public long LastMove => Volatile.Read(ref _lastMove);

    /// <summary>Whether some of the request is still to come.</summary>
    public bool IsReadingRequest => _isReadingRequest;

    /// <summary>gRPC streams and upgraded connections may be silent.</summary>
    public bool IsExemptFromInactivity { get; set; }

    // The monitor's list.
    public InactivityMonitor.Stripe? WatchedIn { get; set; }

    public Exchange? WatchedNext { get; set; }

    public Exchange? WatchedPrevious { get; set; }

    /// <summary>For headers that belong to the content, if there is one or not.</summary>
    public HttpContentHeaders ContentHeaders => (_content ??= new NoContent()).Headers;

    private bool HasBody => _content is RequestContent;

    /// <summary>Whether the request as a whole can go out, be it for the first time or once more.</summary>
    private bool CanGoOut => _content is not RequestContent { CanGoOut: false };

    public void Moved() => Volatile.Write(ref _lastMove, Environment.TickCount64);

    /// <summary>The request has been read to its end.</summary>
    public void RequestRead()
    {
        _isReadingRequest = false;
        Moved();
    }

    /// <summary>Puts its own content in the place of the forwarder's, if the request has a body.</summary>
    public void PrepareContent(HttpContent? copying)
    {
        if (copying is null)
        {
            _content = null;
            return;
        }
        var request = _context.Request;
        // Only HTTP/2 refuses streams.
        var replay = Client.IsGrpc || Client.IsTls ? new RequestReplay() : null;
        var body = new RequestBody(request.Body, request.ContentLength, replay, mayMeetHttp11: !Client.IsGrpc, this);
        request.Body = body;
        _content = new RequestContent(copying, body, replay);
        _isReadingRequest = true;
    }

    public override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (_content is not null)
        {
            request.Content = _content;
        }
        List<Endpoint>? tried = null;
        Exception? refusal = null;
        var invoker = Client.Shared;
        var next = Pick(null);
        while (next is { } endpoint)
        {
            GoTo(endpoint);
            Record.Attempts++;
            request.RequestUri = new Uri(string.Concat(endpoint.UriPrefix, _path, _query), Verbatim);
            if (Client.IsTls)
            {
                request.Options.Set(Connector.EndpointOption, endpoint);
            }
            try
            {
                var response = await invoker.SendAsync(request, cancellationToken);
                (_content as RequestContent)?.Answered();
                Judge(endpoint, response);
                return response;
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested && CanGoOut && ConnectFailure.Is(e))
            {
                // No byte was sent: another endpoint may have the request.
                refusal = e;
                endpoint.ConnectFailed(_destination.Policy, Clock.Now);
                _telemetry.DialFailed(BackendName, endpoint.ToString());
                _logger.LogDebug("no connection to {Endpoint} of {Target}: {Reason}", endpoint, _destination.Name, ConnectFailure.Reason(e));
                (tried ??= []).Add(endpoint);
                next = Pick(tried);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested && CanGoOut && ConnectFailure.IsRefusedStream(e))
            {
                // Not processed: another endpoint may have the request, and this one is none the worse.
                refusal = e;
                (tried ??= []).Add(endpoint);
                next = Pick(tried);
            }
            catch (Exception e) when (invoker == Client.Shared && !cancellationToken.IsCancellationRequested && MaySendAgain(e))
            {
                invoker = Client.Fresh;
            }
        }
        Failure = LocalReply.NoConnection(_destination.Name, ConnectFailure.Reason(refusal));
        throw refusal!;
    }

    /// <summary>Ends the exchange because it does not move. At most once for each exchange, under the monitor's lock.</summary>
    public void MarkInactive() => Failure ??= LocalReply.Inactive;

    /// <summary>Ends it when the response has started and the endpoint broke off: never a silently shortened body.</summary>
    public void BreakOff(Exception cause)
    {
        Failure ??= LocalReply.BrokenOff;
        Cause = cause;
        EndpointFailed();
        if (_context.Features.Get<IHttpResetFeature>() is { } reset)
        {
            const int internalError = 2;
            reset.Reset(internalError);
        }
        else
        {
            _context.Abort();
        }
    }

    /// <summary>What the trailers of a gRPC answer say of the endpoint, where the headers said nothing.</summary>
    public void Judge(HttpResponseHeaders trailers)
    {
        if (IsGrpc && JudgesAnswers && _endpoint is { } endpoint && ResponseOutcome.FromTrailers(trailers) is { } failed)
        {
            Judge(endpoint, failed);
        }
    }

    /// <summary>The endpoint broke off: it counts like a failed answer.</summary>
    public void EndpointFailed()
    {
        if (JudgesAnswers && _endpoint is { } endpoint && !_context.RequestAborted.IsCancellationRequested)
        {
            Judge(endpoint, failed: true);
        }
    }

    /// <summary>Gives back what the exchange holds.</summary>
    public void End()
    {
        _destination.Backend?.Leave();
        _endpoint?.RequestEnded();
        InactivityMonitor.Remove(this);
        // One that the monitor is about to cancel must not serve another exchange.
        if (Cancellation is { } source && Failure != LocalReply.Inactive)
        {
            CancellationSources.Return(source);
        }
    }

    private bool JudgesAnswers => _destination.Policy.EjectAfter > 0;

    private void Judge(Endpoint endpoint, HttpResponseMessage response)
    {
        if (!JudgesAnswers)
        {
            endpoint.Succeeded();
        }
        else if (ResponseOutcome.FromHeaders(response, IsGrpc) is { } failed)
        {
            Judge(endpoint, failed);
        }
        else
        {
            endpoint.Connected();
        }
    }

    private void Judge(Endpoint endpoint, bool failed)
    {
        if (!failed)
        {
            endpoint.Succeeded();
        }
        else if (_destination.Endpoints.AnswerFailed(endpoint, _destination.Policy))
        {
            _logger.LogWarning(
                "endpoint {Endpoint} of {Target} is ejected for {Duration}: {Failures} failures in a row",
                endpoint,
                _destination.Name,
                TimeSpan.FromTicks(_destination.Policy.EjectionTime),
                _destination.Policy.EjectAfter);
        }
    }

    /// <summary>The endpoint to try next; null when it has tried all.</summary>
    private Endpoint? Pick(List<Endpoint>? tried)
    {
        using var span = Tracing.StartPicking(Record);
        var endpoint = _destination.Endpoints.Pick(_destination.Ticket, tried);
        if (span is not null)
        {
            Tracing.Picked(span, Record, endpoint);
        }
        return endpoint;
    }

    private void GoTo(Endpoint endpoint)
    {
        if (!ReferenceEquals(_endpoint, endpoint))
        {
            _endpoint?.RequestEnded();
            endpoint.RequestStarted();
            _endpoint = Record.Endpoint = endpoint;
        }
    }

    /// <summary>
    /// Whether SPEC section 5 allows a second try: nothing was sent, or an idempotent request without a body (RFC 9110, 9.2.2)
    /// met the end of a connection that had been in use before.
    /// </summary>
    private bool MaySendAgain(Exception e) =>
        ConnectionLostException.In(e) is { } lost
        && CanGoOut
        && (lost.NothingSent || (lost.Reused && !HasBody && IsIdempotent(_context.Request.Method)));

    private static bool IsIdempotent(string method) =>
        HttpMethods.IsGet(method) || HttpMethods.IsHead(method) || HttpMethods.IsPut(method)
        || HttpMethods.IsDelete(method) || HttpMethods.IsOptions(method) || HttpMethods.IsTrace(method);

    private sealed class NoHandler : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            throw new NotSupportedException("an exchange sends by its client's handler");
    }
}
