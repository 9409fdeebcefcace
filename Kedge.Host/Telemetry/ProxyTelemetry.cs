using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using Kedge.Domain;
using Kedge.Host.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Telemetry;

/// <summary>
/// What the request path reports: counters, recent requests and failures, log lines and spans. One per process. Costs
/// each request a record and a few interlocked increments.
/// </summary>
public sealed class ProxyTelemetry : IDisposable
{
    /// <summary>How many of the latest requests are kept.</summary>
    public const int KeptRequests = 256;

    public const string MeterName = "kedge";

    /// <summary>The backend name for requests that did not reach a backend.</summary>
    public const string NoBackend = "unknown";

    /// <summary>
    /// The backend name for requests that matched an ad-hoc rule: the name of the target is the caller's choice.
    /// </summary>
    public const string AdhocBackend = "adhoc";

    private const int ClientClosedRequest = 499;

    // The status of a request to a backend that did not respond. Existing dashboards expect this value.
    private const int NoResponse = 599;

    // The longest part of X-Kedge-Info-Logs that is logged, in characters.
    private const int MaxInfoLogs = 200;

    private readonly ConcurrentDictionary<(Protocol, string), BackendCounters> _backends = new();
    private readonly ConcurrentDictionary<(string, string), StrongBox<long>> _errors = new();
    private readonly ConcurrentDictionary<(string, string, string), StrongBox<long>> _retries = new();
    private readonly ConcurrentDictionary<(Protocol, string), DialerCounters> _dialers = new();
    private readonly ConcurrentDictionary<(Protocol, string), RouteCounters> _routes = new();
    private readonly ConcurrentDictionary<(Protocol, string), SplitCounters> _splits = new();
    private readonly ConcurrentDictionary<string, MirrorCounters> _mirrors = new();
    private readonly ConcurrentDictionary<(Protocol, string), MirrorAgreement> _mirrorAgreements = new();
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _routeDuration;
    private readonly Histogram<double> _handshakes;
    private readonly Counter<long> _failedDials;
    private readonly PerProtocol<Counter<long>> _backendChanges;
    private readonly PerProtocol<BackendCounters> _noBackend;
    private readonly RequestLog _log;
    private long _requests;
    private long _failed;
    private int _inFlight;

    /// <param name="log">Where requests are logged.</param>
    public ProxyTelemetry(RequestLog log)
    {
        _log = log;
        Meter = new Meter(MeterName);
        _duration = DurationOf(
            "kedge_request_duration_seconds", "Time from a request's arrival to the end of its response.");
        _routeDuration = DurationOf(
            "kedge_route_request_duration_seconds", "The same for the requests of each named route.");
        _handshakes = Meter.CreateHistogram(
            "kedge_backend_handshake_duration_seconds",
            description: "Time to open a connection to a backend, with its TLS handshake and HTTP/2 settings.",
            advice: new InstrumentAdvice<double>
            {
                HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
            });
        AdhocDialer = new DialerCounters(AdhocBackend, AdhocBackend, _handshakes);
        _failedDials = Meter.CreateCounter<long>(
            "kedge_http_lbtransport_failed_dials", description: "Connections to endpoints that could not be made.");
        _backendChanges = PerProtocol.Init(protocol => Meter.CreateCounter<long>(
            $"kedge_{protocol.Section}_backend_configuration_changes_total",
            description: $"Changes of {protocol.DisplayName} backends in the configuration."));
        _noBackend = PerProtocol.Init(protocol => CountersOf(protocol, NoBackend));
    }

    /// <summary>For the instruments of other parts of the server.</summary>
    public Meter Meter { get; }

    public HandshakeFailures HandshakeFailures { get; } = new();

    public ProxyProtocolCounters ProxyProtocol { get; } = new();

    public HttpMethodTable HttpServer { get; } = new();

    public HttpMethodTable HttpClient { get; } = new();

    public GrpcMethods GrpcServer { get; } = new();

    public GrpcMethods GrpcClient { get; } = new();

    public Recent<RequestRecord> Requests { get; } = new(KeptRequests);

    public Recent<RequestRecord> Failures { get; } = new(64);

    /// <summary>The counters of the listeners whose connections are counted.</summary>
    public IReadOnlyList<ListenerCounters> Listeners { get; } =
    [
        new(ListenerKind.GrpcTls),
        new(ListenerKind.HttpTls),
        new(ListenerKind.HttpClear),
        new(ListenerKind.HttpPlain),
    ];

    /// <summary>The number of completed requests.</summary>
    public long Total => Volatile.Read(ref _requests);

    /// <summary>The number of completed requests that kedge itself failed.</summary>
    public long Failed => Volatile.Read(ref _failed);

    public int InFlight => Volatile.Read(ref _inFlight);

    public IEnumerable<BackendCounters> Backends => _backends.Values;

    /// <summary>Counts the connections to ad-hoc targets.</summary>
    internal DialerCounters AdhocDialer { get; }

    internal IEnumerable<DialerCounters> Dialers => _dialers.Values.Prepend(AdhocDialer);

    /// <summary>The counters of the named routes.</summary>
    public IEnumerable<RouteCounters> Routes => _routes.Values;

    public IEnumerable<(string Backend, string Type, long Count)> Errors =>
        _errors.Select(error => (error.Key.Item1, error.Key.Item2, Volatile.Read(ref error.Value.Value)));

    /// <summary>The retries under the retry policies of routes.</summary>
    public IEnumerable<(string Backend, string Reason, string Outcome, long Count)> Retries =>
        _retries.Select(retry =>
            (retry.Key.Item1, retry.Key.Item2, retry.Key.Item3, Volatile.Read(ref retry.Value.Value)));

    /// <summary>A retry has ended, or was withheld.</summary>
    public void CountRetry(string backend, string reason, string outcome) =>
        Interlocked.Increment(
            ref _retries.GetOrAdd((backend, reason, outcome), static _ => new StrongBox<long>()).Value);

    public BackendCounters CountersOf(Protocol protocol, string backend) =>
        _backends.GetOrAdd((protocol, backend), static key => new BackendCounters(key.Item1, key.Item2));

    /// <summary>The counters of the named routes with several backends.</summary>
    public IEnumerable<SplitCounters> Splits => _splits.Values;

    public SplitCounters SplitOf(Protocol protocol, string route) =>
        _splits.GetOrAdd((protocol, route), static key => new SplitCounters(key.Item1, key.Item2));

    /// <summary>The copies of requests, by backend.</summary>
    public IEnumerable<MirrorCounters> Mirrors => _mirrors.Values;

    /// <summary>How often mirrors and callers of named routes got the same status.</summary>
    public IEnumerable<MirrorAgreement> MirrorAgreements => _mirrorAgreements.Values;

    public MirrorCounters MirrorOf(string backend) =>
        _mirrors.GetOrAdd(backend, static name => new MirrorCounters(name));

    public MirrorAgreement MirrorAgreementOf(Protocol protocol, string route) =>
        _mirrorAgreements.GetOrAdd((protocol, route), static key => new MirrorAgreement(key.Item1, key.Item2));

    /// <summary>Counts the connections that are opened for a backend.</summary>
    internal DialerCounters DialerOf(Protocol protocol, string backend) =>
        _dialers.GetOrAdd(
            (protocol, backend),
            static (key, handshakes) => new DialerCounters(
                $"{key.Item1.Section}_backend_{key.Item2}", key.Item2, handshakes),
            _handshakes);

    public ListenerCounters CountersOf(ListenerKind listener) =>
        Listeners.First(counters => counters.Listener == listener);

    /// <summary>A request has arrived.</summary>
    public RequestRecord Begin(HttpContext context, string requestId)
    {
        Interlocked.Increment(ref _inFlight);
        var request = context.Request;
        return new RequestRecord
        {
            RequestId = requestId,
            Started = Stopwatch.GetTimestamp(),
            At = DateTime.UtcNow,
            Method = request.Method,
            InfoLogs = InfoLogsOf(request.Headers),
            Activity = Tracing.StartRequest(request),
        };
    }

    /// <summary>The protocol of the request is known.</summary>
    public void Recognized(RequestRecord record)
    {
        if (record.Protocol.IsHttp)
        {
            record.IsCountedHttp = true;
            HttpServer.Of(record.Method).Start();
        }
    }

    /// <summary>A route or ad-hoc rule matched the request.</summary>
    public void Matched(RequestRecord record, RuleHits rule)
    {
        record.Rule = rule;
        rule.Hit();
        if (record.Protocol.IsGrpc)
        {
            record.GrpcServer = GrpcServer.Of(record.Path);
            record.GrpcServer.Start();
        }
    }

    /// <summary>The request is about to be forwarded.</summary>
    /// <param name="countMethod">Whether the call is counted by its gRPC method, too.</param>
    public void Forwarding(RequestRecord record, BackendCounters backend, bool countMethod)
    {
        record.Backend = backend;
        backend.Started();
        if (record.Protocol.IsHttp)
        {
            HttpClient.Of(record.Method).Start();
        }
        if (countMethod)
        {
            record.GrpcClient = GrpcClient.Of(record.Path);
            record.GrpcClient.Start();
        }
    }

    /// <summary>The route itself responds to the request.</summary>
    public static void Answering(RequestRecord record, BackendCounters kind)
    {
        record.Backend = kind;
        kind.Started();
    }

    /// <summary>A connection attempt to an endpoint failed.</summary>
    /// <param name="backend">
    /// Null for an ad-hoc target, whose address is the caller's choice and therefore not reported.
    /// </param>
    public void DialFailed(string? backend, string endpoint) =>
        _failedDials.Add(
            1,
            new("resolve_addr", backend is null ? "" : endpoint),
            new("target", backend ?? AdhocBackend));

    /// <param name="action"><c>create</c>, <c>update</c> or <c>delete</c>.</param>
    public void BackendChanged(Protocol protocol, string backend, string action) =>
        _backendChanges[protocol].Add(1, new("action", action), new("backend_name", backend));

    /// <summary>The request has ended: counts, records and, if required, logs it.</summary>
    public void End(RequestRecord record, HttpContext context)
    {
        record.Ended = Stopwatch.GetTimestamp();
        record.Status = record.Protocol.IsGrpc ? GrpcStatusOf(record, context) : HttpStatusOf(record, context);
        Interlocked.Decrement(ref _inFlight);
        record.Backend?.Ended();
        Finish(record);
    }

    /// <summary>The server rejected a request before it reached kedge: counts, records and logs it.</summary>
    /// <param name="request">The request, as far as it was read; null when none of it was.</param>
    /// <param name="requestId">The ID in the response.</param>
    /// <param name="reply">The response.</param>
    public void Rejected(IHttpRequestFeature? request, string requestId, LocalReply reply)
    {
        var target = request?.RawTarget ?? "";
        var query = target.IndexOf('?');
        var now = Stopwatch.GetTimestamp();
        var record = new RequestRecord
        {
            RequestId = requestId,
            Started = now,
            Ended = now,
            At = DateTime.UtcNow,
            Protocol = Protocol.Http,
            Method = Excerpt(request?.Method),
            Authority = Excerpt(request?.Headers.Host),
            Path = Excerpt(query < 0 ? target : target[..query]),
            Failure = reply,
            Status = reply.HttpStatus,
        };
        Recognized(record);
        Finish(record);
    }

    private static string Excerpt(string? text)
    {
        const int maxLength = 200;
        return text is null ? "" : text.Length <= maxLength ? text : text[..maxLength] + "…";
    }

    private void Finish(RequestRecord record)
    {
        Interlocked.Increment(ref _requests);
        var counters = record.Backend ?? _noBackend[record.Protocol];
        counters.Codes.Count(record.Status);
        counters.Traffic.Record(record.Total, IsServerError(record));
        if (record.IsCountedHttp)
        {
            HttpServer.Of(record.Method).Complete(record.Status);
            if (record.Backend is not null)
            {
                HttpClient.Of(record.Method).Complete(record.FirstByte == 0 ? NoResponse : record.Status);
            }
        }
        record.GrpcServer?.Handle(record.Status);
        record.GrpcClient?.Handle(record.Status);
        _duration.Record(record.Total.TotalSeconds, counters.Labels[0], counters.Labels[1]);
        CountRoute(record);
        record.Split?.Count(record.ChosenBackend!, record.Status);
        Requests.Add(record);
        if (record.Failure is { } failure)
        {
            Interlocked.Increment(ref _failed);
            var backend = record.BackendName.Length == 0 ? NoBackend : record.BackendName;
            var count = _errors.GetOrAdd((backend, failure.Type), static _ => new(0));
            Interlocked.Increment(ref count.Value);
            Failures.Add(record);
        }
        Tracing.End(record);
        _log.Write(record);
    }

    public void Dispose() => Meter.Dispose();

    private static string InfoLogsOf(IHeaderDictionary headers)
    {
        if (!headers.TryGetValue(ProxyHeaders.InfoLogs, out var values))
        {
            return "";
        }
        var text = values.ToString();
        // An empty value also asks for logging, but does not say who asks.
        return text.Length switch
        {
            0 => "anonymous",
            > MaxInfoLogs => text[..MaxInfoLogs],
            _ => text,
        };
    }

    /// <summary>Whether it ended with an error that the caller did not cause.</summary>
    private static bool IsServerError(RequestRecord record) =>
        record.Protocol.IsGrpc
            ? GrpcStatuses.IsServerError(record.Status)
            : record.Status >= StatusCodes.Status500InternalServerError;

    private void CountRoute(RequestRecord record)
    {
        if (record.Rule is { Info.Name.Length: > 0 } rule)
        {
            var route = _routes.GetOrAdd(
                (record.Protocol, rule.Info.Name), static key => new RouteCounters(key.Item1, key.Item2));
            route.Codes.Count(record.Status);
            _routeDuration.Record(record.Total.TotalSeconds, route.Labels[0], route.Labels[1]);
        }
    }

    private Histogram<double> DurationOf(string name, string description) => Meter.CreateHistogram(
        name,
        description: description,
        advice: new InstrumentAdvice<double>
        {
            HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
        });

    private static int HttpStatusOf(RequestRecord record, HttpContext context) =>
        record.CallerLeft && !context.Response.HasStarted ? ClientClosedRequest : context.Response.StatusCode;

    private static int GrpcStatusOf(RequestRecord record, HttpContext context)
    {
        if (record.Failure is { } failure)
        {
            return (int)failure.GrpcStatus;
        }
        if (record.CallerLeft)
        {
            return (int)GrpcStatus.Canceled;
        }
        var trailers = context.Features.Get<IHttpResponseTrailersFeature>()?.Trailers;
        var text = trailers is not null && trailers.TryGetValue(GrpcHeaders.Status, out var trailing)
            ? trailing
            : context.Response.Headers[GrpcHeaders.Status];
        return text.Count == 1 && int.TryParse(text[0], out var code) ? code : GrpcStatuses.Unknown;
    }
}
