using System.Diagnostics;
using System.Runtime.CompilerServices;
using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Endpoint = Kedge.Host.Backends.Endpoint;

namespace Kedge.Host.Telemetry;

/// <summary>
/// What is told of a request when it is over: filled in on its way, never formatted before somebody looks. Times are
/// <see cref="Stopwatch"/> timestamps.
/// </summary>
public sealed class RequestRecord
{
    public required string RequestId { get; init; }

    public required long Started { get; init; }

    public required DateTime At { get; init; }

    public required string Method { get; init; }

    /// <summary>Whether the caller asks for this request's log lines.</summary>
    public bool IsWatched { get; init; }

    public string Authority { get; set; } = "";

    /// <summary>Without the query, which may hold secrets.</summary>
    public string Path { get; set; } = "";

    public bool IsGrpc { get; set; }

    /// <summary>The rule that took it; null when none did.</summary>
    public RuleHits? Rule { get; set; }

    /// <summary>Where it is counted; null until its backend is known.</summary>
    public BackendCounters? Backend { get; set; }

    public GrpcMethodCounters? GrpcServer { get; set; }

    public GrpcMethodCounters? GrpcClient { get; set; }

    /// <summary>Where it went last; null when it went nowhere.</summary>
    public Endpoint? Endpoint { get; set; }

    public int Attempts { get; set; }

    /// <summary>When the response's headers came; 0 when none did.</summary>
    public long FirstByte { get; set; }

    public long Ended { get; set; }

    /// <summary>The answer that kedge gave, or would have given had the response not started; null when all went well.</summary>
    public LocalReply? Failure { get; set; }

    /// <summary>What stood behind the failure.</summary>
    public Exception? Cause { get; set; }

    /// <summary>Whether the caller went before the end.</summary>
    public bool CallerLeft { get; set; }

    /// <summary>The HTTP status, or the gRPC status of a call.</summary>
    public int Status { get; set; }

    /// <summary>The request's span while it is under way; null when nobody traces.</summary>
    public Activity? Activity { get; set; }

    /// <summary>The span of its forwarding; null also when the request is not sampled.</summary>
    public Activity? Forwarding { get; set; }

    public TimeSpan Total => Stopwatch.GetElapsedTime(Started, Ended);

    /// <summary><c>GET a.example/path</c></summary>
    public string Describe() => $"{Method} {Authority}{Path}";
}
