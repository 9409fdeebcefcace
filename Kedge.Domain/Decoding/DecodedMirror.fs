namespace Kedge.Domain.Decoded

/// A backend that gets copies of the requests of a route. Nobody sees its answers.
type Mirror =
    {
        BackendName: string
        /// Of the requests that may be copied; None = 100.
        Percent: uint32 option
        /// The largest body of a request that is copied, in bytes; None = 64 KiB.
        MaxBody: uint32 option
        /// Whether requests are copied whose method is not safe, too (RFC 9110, 9.2.1).
        UnsafeMethods: bool
        /// Whether a copy has the credentials of the caller.
        WithCredentials: bool
    }
