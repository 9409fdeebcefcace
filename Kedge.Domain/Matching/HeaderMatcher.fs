namespace Kedge.Domain

/// The headers (or gRPC metadata) of a request. The shell implements it with a struct, so that a request's headers reach
/// the matchers without being copied or boxed.
type IHeaders =
    /// Whether the header, whose name is compared without regard to case, has exactly this value among its values.
    abstract Has: name: string * value: string -> bool

/// One header that must be there with one value.
[<Struct>]
type HeaderMatcher =
    {
        Name: string
        Value: string
    }

    member matcher.Holds<'headers when 'headers :> IHeaders>(headers: inref<'headers>) : bool =
        headers.Has(matcher.Name, matcher.Value)
