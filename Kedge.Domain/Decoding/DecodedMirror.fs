namespace Kedge.Domain.Decoded

/// A backend that gets copies of the requests of a route. Its responses are discarded.
type Mirror =
    {
        BackendName: string
        /// Of the requests that may be copied; None = 100.
        Percent: uint32 option
        /// The largest body of a request that is copied, in bytes; None = 64 KiB.
        MaxBody: uint32 option
        /// Whether requests with unsafe methods are copied too (RFC 9110, 9.2.1).
        UnsafeMethods: bool
        /// Whether a copy contains the caller's credentials.
        WithCredentials: bool
    }
