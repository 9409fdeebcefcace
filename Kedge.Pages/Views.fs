/// The models of the pages. The JSON form of a page is its serialized model.
namespace Kedge.Pages

open System

/// The state of a thing, shown as a colour and a word.
type Tone =
    | Good = 0
    | Warning = 1
    | Bad = 2
    /// Neither good nor bad: unused, pending, or of no concern.
    | Quiet = 3

/// The header of every page.
type ServerView =
    {
        Version: string
        /// `serving`, `draining`, or what kedge is waiting for.
        State: string
        StateTone: Tone
        Started: DateTimeOffset
        Now: DateTimeOffset
    }

/// Traffic of the last 15 minutes, oldest first; empty if there was none.
type TrafficView =
    {
        /// How long one point lasts.
        SecondsPerPoint: int
        RequestsPerSecond: float array
        /// Requests that ended with a server error.
        ErrorsPerSecond: float array
        P50Ms: float array
        P99Ms: float array
    }

type RouteView =
    {
        /// `http` or `grpc`.
        Protocol: string
        Index: int
        /// `host=a.example port=443 path=/api/*`
        Rule: string
        Backend: string
        BackendExists: bool
        /// Who may use it: `as the server's flags require`, `any permission of admin`.
        Demands: string
        /// `director.json:12`, or the service that a generated route comes from.
        Owner: string
        Generated: bool
        Hits: int64
    }

type EndpointView =
    {
        Address: string
        /// `ready`, or why the endpoint is left out.
        State: string
        Tone: Tone
        InFlight: int
        Requests: int64
        Failures: int64
    }

type BackendView =
    {
        Protocol: string
        Name: string
        Balancer: string
        /// `srv _grpc._tcp.a.internal`, `host 10.0.0.1:80`, `k8s a.default:http`
        Target: string
        /// `plain text`, `TLS`, `TLS, not verified`
        Security: string
        Tone: Tone
        /// When the endpoints were last confirmed; null when they never were.
        Resolved: Nullable<DateTimeOffset>
        /// Empty when the last lookup succeeded.
        LastError: string
        /// Completed requests since the start.
        Requests: int64
        /// How many of them ended with a server error.
        Errors: int64
        Traffic: TrafficView
        Endpoints: EndpointView array
    }

/// An attempt to change the configuration.
type GenerationView =
    {
        /// 0 when it was rejected.
        Number: int64
        At: DateTimeOffset
        /// `start`, `file`, `SIGHUP`, `discovery`
        Source: string
        Accepted: bool
        /// What changed, or why the attempt was rejected, line by line.
        Lines: string array
    }

/// Something that dynamic discovery could not use as it was.
type NoticeView =
    {
        /// `conflict`, `quarantined`, `ignored port`, …
        Kind: string
        Subject: string
        Detail: string
        Tone: Tone
    }

type FailureView =
    {
        At: DateTimeOffset
        RequestId: string
        Request: string
        Rule: string
        Backend: string
        Endpoint: string
        Type: string
        Reason: string
    }

/// A certificate of the server.
type CertificateView =
    {
        /// `default`, the path in a directory of certificates, or `secret:namespace/name`.
        Name: string
        /// The first of the host names that it is for, and how many more there are.
        Names: string
        /// `valid for 83 d`, `expired`, `quarantined`
        State: string
        Tone: Tone
        /// Null when it cannot be read.
        Expires: Nullable<DateTimeOffset>
        /// What is wrong; empty when nothing is.
        Detail: string
    }

/// Something other than a backend that kedge depends on: a watch on the API server, a token provider.
type DependencyView =
    {
        Name: string
        State: string
        Tone: Tone
        Detail: string
    }

type StatusView =
    {
        Server: ServerView
        Generation: int64
        ConfiguredAt: DateTimeOffset
        /// The errors of the last attempt to change the configuration; empty when it was accepted.
        ConfigurationErrors: string array
        Requests: int64
        Failed: int64
        /// The part of `Failed` that is the caller's mistake: no permission, a malformed request.
        Refused: int64
        InFlight: int
        Traffic: TrafficView
        Routes: RouteView array
        AdhocRules: RouteView array
        Backends: BackendView array
        Generations: GenerationView array
        Notices: NoticeView array
        /// The default certificate, then the others, the next to expire first.
        Certificates: CertificateView array
        Dependencies: DependencyView array
        Failures: FailureView array
    }

type ExplainView =
    {
        Server: ServerView
        Method: string
        Url: string
        Headers: string
        Grpc: bool
        Forward: bool
        /// What happens to the request, in one sentence. Empty when nothing has been asked yet.
        Verdict: string
        VerdictTone: Tone
        /// The ID of the explained request when kedge served it; empty when a user entered the request.
        Request: string
        /// Rule by rule.
        Lines: string array
    }

/// A recent request. Times are in milliseconds from its arrival.
type RecentRequestView =
    {
        At: DateTimeOffset
        RequestId: string
        Request: string
        /// The page that explains where such a request goes now.
        Explain: string
        Status: string
        Tone: Tone
        Rule: string
        Backend: string
        Endpoint: string
        Attempts: int
        FirstByteMs: float
        TotalMs: float
        Error: string
    }

/// One page of the routes that a search finds.
type RoutesView =
    {
        Server: ServerView
        /// Words that each route shown contains; empty = all routes.
        Query: string
        /// From 1.
        Page: int
        Pages: int
        /// How many routes the search finds, and how many there are.
        Found: int
        All: int
        /// In the order in which requests meet them.
        Routes: RouteView array
    }

/// One route, and the latest requests that it matched.
type RouteDetailView =
    {
        Server: ServerView
        /// Empty when there is no such route.
        Route: RouteView array
        Traffic: TrafficView
        Requests: RecentRequestView array
    }

type RequestsView =
    {
        Server: ServerView
        Requests: RecentRequestView array
    }

type FlagView =
    {
        Group: string
        Name: string
        /// Secrets are already masked.
        Value: string
        Default: string
        Given: bool
        Help: string
    }

type FlagsView =
    {
        Server: ServerView
        Flags: FlagView array
    }

/// A key of a rate limit.
type LimitKeyView =
    {
        /// An address or a network, or the hash of anything else.
        Key: string
        /// Until its bucket is empty.
        Seconds: float
    }

type LimitView =
    {
        Name: string
        /// `100 per 1s, burst 50`
        Rate: string
        /// `client_address, route`; empty = one bucket.
        Key: string
        /// How many are in use.
        Keys: int
        MaxKeys: int
        Allowed: int64
        Refused: int64
        ShadowRefused: int64
        Overflow: int64
        /// At most 20, the busiest first.
        Busiest: LimitKeyView array
    }

/// `/debug/limits`
type LimitsView =
    {
        Server: ServerView
        /// The number of replicas among which limits of all replicas are divided.
        Replicas: int
        Limits: LimitView array
    }
