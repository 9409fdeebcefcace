using System.Diagnostics;
using System.Net;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Primitives;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Forwarding;

// How a request flows. The two bodies are streamed at the same time:
//
//   request    caller ──▶ Kestrel ──▶ RequestBody ──▶ RequestReplay ──▶ connection ──▶ endpoint
//                                     (step 6)        (HTTP/2 only)
//
//   response   caller ◀── Kestrel ◀── ResponseBody (HTTP)         ◀──── connection ◀── endpoint
//                                     GrpcResponseBody (step 8)
//
// Step 1:  Read the request: authority, canonical path, protocol (RequestView).
// Step 2:  Route it: match, authorize, find the endpoints (RequestRouter). The result is a reply, a tunnel or a
//          destination.
// Step 3:  Arm the timeouts: no progress for HTTP, the caller's deadline for gRPC (ArmTimeouts).
// Step 4:  Copy the headers of the request (ExchangeTransformer.TransformRequestAsync) and wrap its body
//          (Exchange.Prepare). The copies for mirrors begin here (RequestMirrors).
// Step 5:  Send it to an endpoint or, if that accepts no connection, to the next one (Exchange.SendAsync).
// Step 6:  Copy the body of the request (RequestContent, RequestBody). The response may come at any time.
// Step 7:  Copy the headers of the response (ExchangeTransformer.TransformResponseAsync).
// Step 8:  Copy the body of the response (ResponseBody, GrpcResponseBody).
// Step 9:  Copy the trailers of the response (ExchangeTransformer.TransformResponseTrailersAsync).
// Step 10: On failure, reply if the response has not started (FailAsync).
// Step 11: Release what the exchange holds (Exchange.End), and count and log the request (ProxyTelemetry.End).

/// <summary>Handles the requests of the proxy listeners. One per process.</summary>
public sealed class ProxyEngine : IAsyncDisposable
{
    // Has no effect: the exchange itself decides where to send the request. The forwarder only requires a scheme here.
    private const string DestinationPrefix = "http://kedge";

    // With HTTP/1.1, the forwarder prepares an upgrade for that version, whichever version the caller uses. The
    // forwarder's timeout would cut off quiet streams; exchanges have their own timeouts.
    private static readonly ForwarderRequestConfig RequestConfig = new()
    {
        ActivityTimeout = Timeout.InfiniteTimeSpan,
        Version = HttpVersion.Version11,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
    };

    private readonly CertificateStore? _certificates;
    private readonly RequestRouter _router;
    private readonly ProxyTelemetry _telemetry;
    private readonly ILogger _logger;
    private readonly ServiceProvider _services;
    private readonly IHttpForwarder _forwarder;
    private readonly ForwardedHeaders _forwardedHeaders;
    private readonly InactivityMonitor _monitor;
    private readonly StringValues _hsts;

    public ProxyEngine(
        ForwardingOptions options,
        ListenerOptions listeners,
        CertificateStore? certificates,
        RequestRouter router,
        ProxyTelemetry telemetry,
        ILoggerFactory loggers)
    {
        _certificates = certificates;
        _router = router;
        _telemetry = telemetry;
        _logger = loggers.CreateLogger("kedge.proxy");
        // The forwarder's log lines only repeat kedge's own, and cost time.
        _services = new ServiceCollection()
            .AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance)
            .AddSingleton(typeof(ILogger<>), typeof(NullLogger<>))
            .AddHttpForwarder()
            .BuildServiceProvider();
        _forwarder = _services.GetRequiredService<IHttpForwarder>();
        _forwardedHeaders = new ForwardedHeaders(options);
        var hsts = (long)listeners.HstsMaxAge.TotalSeconds;
        _hsts = hsts > 0 ? $"max-age={hsts}" : default(StringValues);
        _monitor = new InactivityMonitor(
            listeners.MaxReadTimeout, listeners.MaxWriteTimeout, listeners.ResponseUnreadTimeout);
    }

    /// <summary>The clock of the drain, which starts when the server is about to stop.</summary>
    internal DrainClock Drain { get; } = new();

    /// <summary>Handles one request.</summary>
    /// <exception cref="ResponseCutException">The response has started and cannot be completed.</exception>
    public async Task HandleAsync(HttpContext context, ListenerKind listener)
    {
        var record = _telemetry.Begin(context, RequestId.KeepOrCreate(context.Request.Headers[ProxyHeaders.RequestId]));
        Exchange? exchange = null;
        var connection = context.Features.Get<ICallerConnection>();
        var inFlight = connection?.RequestStarted() ?? 0;
        long held = 0;
        try
        {
            // Step 1: read the request.
            var reply = RequestView.TryRead(context, listener, out var view);
            record.Protocol = view.Protocol;
            record.Authority = view.Authority;
            record.Path = view.Path;
            _telemetry.Recognized(record);
            if (_hsts.Count > 0 && listener == ListenerKind.HttpTls && view.Protocol.IsHttp)
            {
                // A backend's own header takes precedence.
                context.Response.Headers.StrictTransportSecurity = _hsts;
            }
            if (!HeaderBudget.TryCharge(connection, inFlight, context.Request.Headers, out held))
            {
                reply = LocalReply.TooManyHeaders;
            }
            else if (reply is null && _certificates is { HasNames: true } certificates && !view.IsForward
                && certificates.IsMisdirected(context.Features.Get<ServedName>(), view.Host))
            {
                reply = LocalReply.Misdirected;
            }
            if (reply is null)
            {
                // Step 2: route it.
                var query = view.Query;
                var routing = _router.RouteAsync(context, view, record);
                // As a task in the rare case that it has to wait: awaited directly, it would reserve room for a result
                // in the state machine of every request.
                var result = routing.IsCompletedSuccessfully ? routing.Result : await routing.AsTask();
                if (result.IsTunnel)
                {
                    reply = await Tunnel.RunAsync(context, result.Destination);
                }
                else if (result.Reply is { } routed)
                {
                    reply = routed;
                }
                else if (result.Answer is { } answer)
                {
                    ChangeHeaders(context, record);
                    await answer.WriteAsync(context, record.RequestId);
                }
                else
                {
                    exchange = new Exchange(context, query, result.Destination, record, _telemetry, Drain, _logger)
                    {
                        IsUpgrade = AllowUpgrade(context),
                        Account = connection,
                    };
                }
            }
            if (exchange is not null)
            {
                // Inline: as a separate method, it would cost each request another state machine on the heap.
                Tracing.StartForwarding(record);
                // Step 3: arm the timeouts.
                ArmTimeouts(exchange, context);
                // Steps 4 to 9 are called by the forwarder.
                var error = await _forwarder.SendAsync(
                    context,
                    DestinationPrefix,
                    exchange,
                    RequestConfig,
                    new ExchangeTransformer(exchange, _forwardedHeaders),
                    exchange.Progress.Cancellation?.Token ?? CancellationToken.None);
                // Step 10: reply on failure.
                if (error != ForwarderError.None || exchange.Failure is not null)
                {
                    await FailAsync(context, exchange, error);
                }
            }
            else if (reply is not null)
            {
                record.Failure = reply.IsFailure ? reply : null;
                await reply.WriteAsync(context, record.Protocol, record.RequestId, backendName: null);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException
            && context.RequestAborted.IsCancellationRequested)
        {
            record.CallerLeft = true;
        }
        catch (Exception e)
        {
            _logger.LogError(e, "request {RequestId} failed because of an internal error", record.RequestId);
            record.Failure = LocalReply.Internal;
            if (context.Response.HasStarted)
            {
                context.Abort();
            }
            else
            {
                await LocalReply.Internal.WriteAsync(context, record.Protocol, record.RequestId, backendName: null);
            }
        }
        finally
        {
            // Step 11: release, count and log.
            exchange?.End();
            _telemetry.End(record, context);
            exchange?.Mirrors?.End(record.CallerLeft ? null : record.Status);
            HeaderBudget.Release(connection, inFlight, context.Request.Headers, held);
        }
        if (exchange is { IsCut: true })
        {
            throw new ResponseCutException();
        }
    }

    public ValueTask DisposeAsync()
    {
        _monitor.Dispose();
        return _services.DisposeAsync();
    }

    /// <summary>Applies a route's header changes to its own answer, once all other headers are set.</summary>
    private void ChangeHeaders(HttpContext context, RequestRecord record)
    {
        if (record.Rule?.Info.Filters is { } filters)
        {
            var facts = HeaderChanges.FactsOf(context, record, _forwardedHeaders);
            context.Response.OnStarting(() =>
            {
                HeaderChanges.ApplyTo(context.Response.Headers, filters, facts);
                return Task.CompletedTask;
            });
        }
    }

    private void ArmTimeouts(Exchange exchange, HttpContext context)
    {
        var progress = exchange.Progress;
        progress.Cancellation = CancellationSources.Rent();
        _monitor.Add(progress);
        var limit = TimeSpan.MaxValue;
        if (exchange.Policies is { RequestTimeout: var request } && request > TimeSpan.Zero)
        {
            var left = request - Stopwatch.GetElapsedTime(exchange.Record.Started);
            limit = left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
        if (exchange.Protocol.IsGrpc
            && context.Request.Headers.TryGetValue(GrpcHeaders.Timeout, out var text)
            && GrpcTimeout.TryParse(text.ToString(), out var timeout)
            && timeout < limit)
        {
            limit = timeout;
        }
        if (limit < TimeSpan.MaxValue)
        {
            progress.SetDeadline(limit);
        }
    }

    private static Task FailAsync(HttpContext context, Exchange exchange, ForwarderError error)
    {
        if (exchange.HasResponded
            && exchange.Failure is null
            && error is ForwarderError.RequestBodyCanceled
                or ForwarderError.RequestBodyClient
                or ForwarderError.RequestBodyDestination)
        {
            // An early response is a response, whatever happens to the rest of the request.
            return Task.CompletedTask;
        }
        var failure = exchange.Progress.DeadlineHasPassed
            ? LocalReply.DeadlineExceeded
            : exchange.Failure ?? (exchange.HasTimedOut ? LocalReply.AttemptTimedOut : LocalReply.BrokenOff);
        if (context.Response.Body is ChunkedResponseBody chunked)
        {
            context.Response.Body = chunked.Target;
        }
        var record = exchange.Record;
        // Reading also fails when a caller leaves before the end of its body.
        if (context.RequestAborted.IsCancellationRequested
            && (exchange.Failure is null || exchange.Progress.CallerFault is not null)
            && failure != LocalReply.DeadlineExceeded)
        {
            record.CallerLeft = true;
        }
        else
        {
            record.Failure = failure;
            record.Cause = exchange.Cause ?? context.GetForwarderErrorFeature()?.Exception;
        }
        if (failure.Type == LocalReply.BrokenOff.Type)
        {
            exchange.RecordFailure();
        }
        // When the response has started, the forwarder has already reset the stream or closed the connection.
        if (context.Response.HasStarted || context.RequestAborted.IsCancellationRequested)
        {
            return Task.CompletedTask;
        }
        if (exchange.HasUnreadRequest)
        {
            // The rest would have to be read before the next request on an HTTP/1.1 connection.
            failure = failure with { EndsConnection = true };
        }
        return failure.WriteAsync(
            context,
            exchange.Protocol,
            record.RequestId,
            exchange.Progress.IsCallersFault ? null : exchange.BackendName,
            exchange.ReportedAttempts);
    }

    /// <summary>
    /// Whether the request is a WebSocket handshake (RFC 6455, 4.1; RFC 8441). Rules out any other upgrade: none of
    /// kedge's rules would apply to another protocol that a backend might accept with 101.
    /// </summary>
    private static bool AllowUpgrade(HttpContext context)
    {
        var request = context.Request;
        if (request.Headers.Upgrade is { Count: > 0 } protocol)
        {
            if (HttpMethods.IsGet(request.Method)
                && string.Equals(protocol, "websocket", StringComparison.OrdinalIgnoreCase))
            {
                return context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true };
            }
            context.Features.Set<IHttpUpgradeFeature>(null);
        }
        return HttpMethods.IsConnect(request.Method)
            && context.Features.Get<IHttpExtendedConnectFeature>() is { IsExtendedConnect: true };
    }
}
