namespace Kedge.Client.Domain

open System
open Kedge.Domain

/// Where a kedge listens.
[<Sealed>]
type KedgeAddress(isTls: bool, host: string, port: int) =

    /// Without TLS, no credentials are sent to the kedge.
    member _.IsTls = isTls

    /// Lower case, without brackets.
    member _.Host = host

    member _.Port = port

    /// `https://host:port`
    member _.Url =
        let scheme = if isTls then "https" else "http"

        if host.Contains ':' then
            $"{scheme}://[{host}]:{port}"
        else
            $"{scheme}://{host}:{port}"

    override this.ToString() = this.Url

    override _.Equals(other: objnull) =
        match other with
        | :? KedgeAddress as other -> other.IsTls = isTls && other.Host = host && other.Port = port
        | _ -> false

    override _.GetHashCode() = HashCode.Combine(isTls, host, port)

/// The text of a kedge's URL.
[<RequireQualifiedAccess>]
module internal KedgeUrl =

    let rule = "must be http:// or https:// with a host and perhaps a port"

    /// Whether the scheme is https, and the authority; text after the authority is ignored.
    let split (text: string) : struct (bool * string) voption =
        let text = text.Trim()
        let at = text.IndexOf("://", StringComparison.Ordinal)

        let scheme =
            if at < 0 then
                ""
            else
                text.Substring(0, at).ToLowerInvariant()

        let rest = if at < 0 then "" else text.Substring(at + 3)
        let stop = rest.IndexOfAny [| '/'; '?'; '#' |]
        let authority = if stop < 0 then rest else rest.Substring(0, stop)

        match scheme with
        | "https" -> ValueSome(true, authority)
        | "http" -> ValueSome(false, authority)
        | _ -> ValueNone

    let defaultPort (isTls: bool) = if isTls then 443 else 80

    /// Reads a URL without groups.
    let parse (text: string) : Result<KedgeAddress, string> =
        match split text with
        | ValueNone -> Error rule
        | ValueSome(isTls, authority) ->
            let mutable parts = Unchecked.defaultof<Authority>

            if Authority.TryParse(authority.AsSpan(), &parts) then
                let host = authority.Substring(parts.HostStart, parts.HostLength).ToLowerInvariant()
                let port = if parts.Port < 0 then defaultPort isTls else parts.Port
                Ok(KedgeAddress(isTls, host, port))
            else
                Error rule
