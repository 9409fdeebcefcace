namespace Kedge.Domain

open System

/// Which headers a configuration may set in responses, and to which values.
[<RequireQualifiedAccess>]
module internal HeaderRule =

    /// The longest value, in characters.
    [<Literal>]
    let MaxValue = 4096

    let private framing =
        set
            [
                "connection"
                "content-length"
                "keep-alive"
                "te"
                "trailer"
                "transfer-encoding"
                "upgrade"
            ]

    /// Visible ASCII and spaces, which all recipients read the same way.
    let isValue (value: string) =
        value.Length <= MaxValue
        && value |> String.forall (fun c -> c >= ' ' && c <= '~')
        && value.Trim() = value

    /// Why a file must not set the header in a response; none when it may.
    let problem (name: string) : string option =
        let lower = name.ToLowerInvariant()

        if not (HttpToken.isToken (name.AsSpan())) then
            Some "must be a header name: letters, digits and `-`"
        elif framing.Contains lower then
            Some "must not be a header of the connection or of the framing, which the server sets itself"
        elif
            lower.StartsWith("proxy-", StringComparison.Ordinal)
            || lower.StartsWith("x-kedge-", StringComparison.Ordinal)
            || lower.StartsWith("grpc-", StringComparison.Ordinal)
            || lower = "alt-svc"
        then
            Some "must not be a header that only the proxy itself may send"
        else
            None
