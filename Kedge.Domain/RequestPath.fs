namespace Kedge.Domain

/// The one form of a request's path that is both matched and forwarded. SPEC section 3.
[<RequireQualifiedAccess>]
module RequestPath =

    /// The canonical form of an origin-form path (without query), or an error in words. The same string, without
    /// allocating, when it is canonical already.
    let canonicalise (path: string) : Result<string, string> = failwith "contract"
