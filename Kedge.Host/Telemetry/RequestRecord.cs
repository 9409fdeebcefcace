using System.Diagnostics;
using Kedge.Domain;
using Kedge.Host.Http;
using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Telemetry;

/// <summary>How the target of a request is written (RFC 9112, 3.2).</summary>
public enum RequestForm : byte
{
    /// <summary>A path; the host is in a separate field.</summary>
    Origin,

    /// <summary>A whole URL: a request to a forward proxy.</summary>
    Absolute,

    /// <summary>CONNECT to an authority.</summary>
    Tunnel,
}

/// <summary>
/// What logs, pages and metrics report about a request. Filled in while the request is processed and formatted only
/// when it is read. Times are <see cref="Stopwatch"/> timestamps.
/// </summary>
public sealed class RequestRecord
{
    private const ushort HttpsPort = 443;

    public required string RequestId { get; init; }

    public required long Started { get; init; }

    public required DateTime At { get; init; }

    public required string Method { get; init; }

    /// <summary>
    /// What the caller sent to have this request logged, usually who asks; empty = the caller did not ask.
    /// </summary>
    public string InfoLogs { get; init; } = "";

    public string Authority { get; set; } = "";

    /// <summary>Without the query, which may contain secrets.</summary>
    public string Path { get; set; } = "";

    public Protocol Protocol { get; set; }

    /// <summary>The route or ad-hoc rule that matched; null when none did.</summary>
    public RuleHits? Rule { get; set; }

    /// <summary>
    /// The configuration that routed it; null when kedge responded before that. Weak, so that records do not keep
    /// replaced configurations alive.
    /// </summary>
    public WeakReference<Configuration>? RoutedBy { get; private set; }

    /// <summary>Whether it was a tunnel, a request to a forward proxy, or another one.</summary>
    public RequestForm Form { get; private set; }

    /// <summary>Whether the whole URL of a request to a forward proxy begins with <c>https</c>.</summary>
    public bool IsHttpsTarget { get; private set; }

    /// <summary>Whether it arrived at the plain-HTTP port.</summary>
    public bool IsPlain { get; private set; }

    /// <summary>
    /// The query, with its <c>?</c>, if a condition of the configuration reads it; otherwise empty. May contain
    /// secrets: only the parameters that conditions name may be shown (<see cref="MatchedNames.QueryOf"/>).
    /// </summary>
    public string ConditionQuery { get; private set; } = "";

    /// <summary>
    /// The values of the headers that conditions name, in the order of <see cref="MatchedNames.Headers"/>; null when
    /// conditions name none.
    /// </summary>
    public StringValues[]? ConditionHeaders { get; private set; }

    /// <summary>The counters of its backend; null until the request is forwarded.</summary>
    public BackendCounters? Backend { get; set; }

    /// <summary>The backend that was chosen among several; null when its route has one or none.</summary>
    public string? ChosenBackend { get; set; }

    /// <summary>The counters of a named route with several backends, once one was chosen; otherwise null.</summary>
    public SplitCounters? Split { get; set; }

    /// <summary>The name of its backend, or of the backend of its route; empty when neither is known.</summary>
    public string BackendName => Backend?.Name ?? ChosenBackend ?? Rule?.Info.BackendName ?? "";

    /// <summary>Whether it is an HTTP request that its method's counters include.</summary>
    public bool IsCountedHttp { get; set; }

    public GrpcMethodCounters? GrpcServer { get; set; }

    public GrpcMethodCounters? GrpcClient { get; set; }

    /// <summary>The endpoint of the last attempt; null when there was none.</summary>
    public string? Endpoint { get; set; }

    public int Attempts { get; set; }

    /// <summary>
    /// The endpoint and result of each attempt that the route's policy retried; null when there was none.
    /// <c>10.0.0.1:80 (503), 10.0.0.2:80 (reset)</c>
    /// </summary>
    public string? Tried { get; set; }

    /// <summary>The retried attempts, if any, then the endpoint of the last attempt; empty = none.</summary>
    public string Endpoints => Tried is null ? Endpoint ?? "" : $"{Tried}, {Endpoint}";

    /// <summary>When the response's headers arrived; 0 = they did not.</summary>
    public long FirstByte { get; set; }

    public long Ended { get; set; }

    /// <summary>
    /// The reply of kedge itself, even if it could not be sent because the response had already started; null when the
    /// request succeeded.
    /// </summary>
    public LocalReply? Failure { get; set; }

    /// <summary>The first rate limit in shadow mode that would have refused it; null = none.</summary>
    public string? ShadowLimit { get; set; }

    /// <summary>The exception that caused the failure, if there was one.</summary>
    public Exception? Cause { get; set; }

    /// <summary>Whether the caller disconnected before the end of the response.</summary>
    public bool CallerLeft { get; set; }

    /// <summary>The HTTP status, or the gRPC status of a call.</summary>
    public int Status { get; set; }

    /// <summary>The span of a request in flight; null when tracing is off.</summary>
    public Activity? Activity { get; set; }

    /// <summary>The span of forwarding; also null when the request is not sampled.</summary>
    public Activity? Forwarding { get; set; }

    public TimeSpan Total => Stopwatch.GetElapsedTime(Started, Ended);

    /// <summary>
    /// Keeps the data that explains the request later, according to the configuration that serves it.
    /// </summary>
    internal void Matching(
        WeakReference<Configuration> configuration, MatchedNames names, in RequestView view, IHeaderDictionary headers)
    {
        RoutedBy = configuration;
        Form = view.IsTunnel ? RequestForm.Tunnel : view.IsForward ? RequestForm.Absolute : RequestForm.Origin;
        IsHttpsTarget = view.IsForward && view.Ports.Explicit == HttpsPort;
        IsPlain = view.Listener == Kedge.Domain.Decoded.Listener.Plain;
        if (names.HasQuery)
        {
            ConditionQuery = view.Query;
        }
        var count = names.Headers.Count;
        if (count > 0)
        {
            var values = new StringValues[count];
            for (var i = 0; i < count; i++)
            {
                values[i] = headers[names.Headers[i]];
            }
            ConditionHeaders = values;
        }
    }

    /// <summary><c>GET a.example/path</c></summary>
    public string Describe() => $"{Method} {Authority}{Path}";
}
