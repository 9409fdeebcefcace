/// What the pages show. The JSON form of a page is its model, serialized as it is.
namespace Kedge.Pages

open System

/// How a thing is doing, as a colour and a word.
type Tone =
    | Good = 0
    | Warning = 1
    | Bad = 2
    /// Neither good nor bad: unused, not there yet, of no concern.
    | Quiet = 3

/// What stands at the top of every page.
type ServerView =
    {
        Version: string
        /// `serving`, `draining` or what it waits for.
        State: string
        StateTone: Tone
        Started: DateTimeOffset
        Now: DateTimeOffset
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
        /// `director.json:12`, or the service that a generated route stems from.
        Owner: string
        Generated: bool
        Hits: int64
    }

type EndpointView =
    {
        Address: string
        /// `ready`, `aside for 1.4 s`, `unwell: HTTP 503`, …
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
        /// Empty when the last look-up went well.
        LastError: string
        Endpoints: EndpointView array
    }

/// An attempt to change the configuration.
type GenerationView =
    {
        /// 0 when it was refused.
        Number: int64
        At: DateTimeOffset
        /// `start`, `file`, `SIGHUP`, `discovery`
        Source: string
        Accepted: bool
        /// What changed, or why it was refused; a line each.
        Lines: string array
    }

/// Something that dynamic discovery could not use as it is.
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

/// A watch on the API server, a certificate, a token provider: what kedge depends on besides backends.
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
        InFlight: int
        Routes: RouteView array
        AdhocRules: RouteView array
        Backends: BackendView array
        Generations: GenerationView array
        Notices: NoticeView array
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
        /// Empty when nothing was asked yet; else what happens to the request, in a sentence.
        Verdict: string
        VerdictTone: Tone
        /// Rule by rule.
        Lines: string array
    }

/// A request of the recent past. Times in milliseconds from its arrival.
type RequestView =
    {
        At: DateTimeOffset
        RequestId: string
        Request: string
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

type RequestsView =
    {
        Server: ServerView
        Requests: RequestView array
    }

type FlagView =
    {
        Group: string
        Name: string
        /// A secret's value is masked before it comes here.
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
