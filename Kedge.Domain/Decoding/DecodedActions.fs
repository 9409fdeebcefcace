namespace Kedge.Domain.Decoded

open System

/// The listeners on which a route holds. The numbers are those of the enum in JSON.
type Listener =
    /// The TLS listeners alone. The default, so that a plain-HTTP listener exposes no route that does not name it.
    | Tls = 0
    /// The plain-HTTP listener alone.
    | Plain = 1
    | Any = 2

/// What replaces a part of a request's path.
type PathChange =
    /// The path as a whole.
    | ReplaceFull of path: string
    /// The path rule's prefix (Gateway API: HTTPPathModifier).
    | ReplacePrefix of replacement: string

/// Sends the caller to another URL. What is not given is taken from the request.
type Redirect =
    {
        /// `http` or `https`; empty = that of the request.
        Scheme: string
        Host: string
        /// 0 = the well-known port of `Scheme`, or without a scheme the request's port.
        Port: uint32
        Path: PathChange option
        /// 301, 302, 303, 307 or 308; 0 = 302.
        Status: uint32
        StripQuery: bool
    }

/// A fixed answer to HTTP requests.
type Respond =
    {
        /// 200 to 599.
        Status: uint32
        Body: string
        /// A path. The file is read with the configuration.
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

/// A fixed answer to gRPC calls.
type GrpcRespond =
    {
        /// Not `Ok`, which is also the default: a call that succeeds needs a message.
        GrpcStatus: GrpcStatus
        Message: string
    }
