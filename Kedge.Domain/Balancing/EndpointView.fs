namespace Kedge.Domain

/// A request's view of the endpoints of a backend, by their index in the set that the picker was created for. The
/// server implements it with a small struct. Availability and load may change between two calls; `IsTried` must not.
type IEndpointView =
    /// Healthy, not ejected and not in backoff.
    abstract IsAvailable: index: int -> bool
    /// Requests in flight at the endpoint, not negative.
    abstract InFlight: index: int -> int
    /// This request has been sent there already.
    abstract IsTried: index: int -> bool

/// An endpoint's rank among the others, as reported by its resolver. Only SRV records have anything but 0 and 0.
[<Struct>]
type EndpointRank =
    {
        /// Lower priorities are used first.
        Priority: uint16
        /// RFC 2782: the share within the priority.
        Weight: uint16
    }
