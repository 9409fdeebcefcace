namespace Kedge.Domain.Decoded

/// One of several backends of a route.
type WeightedBackend =
    {
        Name: string
        /// Its part of the sum of the weights: 0 to 1,000,000. None = 1.
        Weight: uint32 option
        /// Of the requests that it gets, after the changes of the route.
        RequestHeaders: HeaderChanges option
        ResponseHeaders: HeaderChanges option
    }

/// What decides which of several backends a caller gets. Names of headers and cookies come from the caller.
[<RequireQualifiedAccess>]
type SplitKey =
    | Cookie of name: string
    /// The first value of the header.
    | Header of name: string
    /// The first parameter of that name in the query.
    | Query of name: string
    | ClientAddress
    /// Whom the verified token was issued to.
    | TokenSubject
    /// The first name in the client's certificate.
    | ClientSan

/// What becomes of the share of a backend that has no endpoint. The numbers are those of the enum in JSON.
type OnUnavailable =
    /// It gets an error.
    | Fail = 0
    /// The other backends share it in proportion.
    | Others = 1
