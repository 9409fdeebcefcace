namespace Kedge.Domain.Decoded

open System

/// The listeners that a route applies to. The numbers are those of the enum in JSON.
type Listener =
    /// Only the TLS listeners. The default, so that a plain-HTTP listener exposes no route that does not name it.
    | Tls = 0
    /// Only the plain-HTTP listener.
    | Plain = 1
    | Any = 2

/// What replaces a part of a request's path.
type PathChange =
    /// The path as a whole.
    | ReplaceFull of path: string
    /// The path rule's prefix (Gateway API: HTTPPathModifier).
    | ReplacePrefix of replacement: string

/// Sends the caller to another URL. Parts that are not given come from the request.
type Redirect =
    {
        /// `http` or `https`; empty = the request's scheme.
        Scheme: string
        Host: string
        /// 0 = the well-known port of `Scheme`, or the request's port if there is no scheme.
        Port: uint32
        Path: PathChange option
        /// 301, 302, 303, 307 or 308; 0 = 302.
        Status: uint32
        StripQuery: bool
    }

/// A fixed response to HTTP requests.
type Respond =
    {
        /// 200 to 599.
        Status: uint32
        Body: string
        /// A path. The file is read along with the configuration.
        BodyFile: string
        /// Empty = `text/plain; charset=utf-8`.
        ContentType: string
        Headers: Map<string, string>
        /// Sent as `Retry-After`, in whole seconds; zero = none.
        RetryAfter: TimeSpan
    }

/// The status of a gRPC call. The numbers are those of the gRPC specification.
type GrpcStatus =
    | Ok = 0
    | Cancelled = 1
    | Unknown = 2
    | InvalidArgument = 3
    | DeadlineExceeded = 4
    | NotFound = 5
    | AlreadyExists = 6
    | PermissionDenied = 7
    | ResourceExhausted = 8
    | FailedPrecondition = 9
    | Aborted = 10
    | OutOfRange = 11
    | Unimplemented = 12
    | Internal = 13
    | Unavailable = 14
    | DataLoss = 15
    | Unauthenticated = 16

/// A fixed response to gRPC calls.
type GrpcRespond =
    {
        /// Must not be `Ok`, which is also the default: a successful call needs a message.
        GrpcStatus: GrpcStatus
        Message: string
    }
