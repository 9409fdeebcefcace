namespace Kedge.Domain.Decoded

/// One of several backends of a route.
type WeightedBackend =
    {
        Name: string
        /// Its part of the sum of the weights: 0 to 1,000,000. None = 1.
        Weight: uint32 option
        /// Changes to the requests that it gets, made after those of the route.
        RequestHeaders: HeaderChanges option
        ResponseHeaders: HeaderChanges option
    }

/// What decides which of several backends a caller gets. Callers choose their own cookies, headers and query
/// parameters.
[<RequireQualifiedAccess>]
type SplitKey =
    | Cookie of name: string
    /// The first value of the header.
    | Header of name: string
    /// The first parameter of that name in the query.
    | Query of name: string
    | ClientAddress
    /// The subject of the verified token.
    | TokenSubject
    /// The first name in the client's certificate.
    | ClientSan

/// What happens to the share of a backend that has no endpoint. The numbers are those of the enum in JSON.
type OnUnavailable =
    /// Its requests get an error.
    | Fail = 0
    /// The other backends share it in proportion to their weights.
    | Others = 1
