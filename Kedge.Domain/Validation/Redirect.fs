namespace Kedge.Domain

open System
open System.Text

/// Where a redirect sends a request. Parts that are not given come from the request.
type Redirect =
    {
        /// `http` or `https`; empty = the request's scheme.
        Scheme: string
        /// In lower case, without brackets; empty = the request's host.
        Host: string
        /// 0 = the well-known port of `Scheme`, or without a scheme the request's port.
        Port: uint16
        Path: PathReplacement option
        /// 301, 302, 303, 307 or 308.
        Status: int
        StripQuery: bool
    }

    /// To the same URL with https on this port.
    static member ToHttps(port: uint16) : Redirect =
        {
            Scheme = "https"
            Host = ""
            Port = port
            Path = None
            Status = 308
            StripQuery = false
        }

    /// Percent-encodes characters that a URL must not contain (RFC 3986, 3.4), so that the text is safe in a header.
    /// Text that the caller has encoded stays as it is.
    static member private Query(query: string) : string =
        let isSafe c = c > ' ' && c <= '~' && c <> '"' && c <> '<' && c <> '>' && c <> '#'

        if query |> String.forall isSafe then
            query
        else
            let encoded = StringBuilder()

            for octet in Encoding.UTF8.GetBytes query do
                if isSafe (char octet) then
                    encoded.Append(char octet) |> ignore
                else
                    encoded.Append('%').Append(octet.ToString "X2") |> ignore

            encoded.ToString()

    /// The scheme of a request, which HTTP/1.1 does not send. For a request to a forward proxy, it is the target's
    /// scheme, and a target is `https` only when its port says so: for other https URLs, clients open a tunnel.
    static member SchemeOf(listener: Decoded.Listener, mode: Decoded.ProxyMode, ports: AuthorityPorts) : string =
        match mode with
        | Decoded.ProxyMode.ForwardProxy -> if ports.Explicit = 443us then "https" else "http"
        | _ ->
            if listener = Decoded.Listener.Plain then
                "http"
            else
                "https"

    /// The absolute URL of the `Location` header. `scheme` is the request's (`SchemeOf`), `host` is without port and
    /// brackets and not empty, `path` is canonical and matches the route, `query` is without its `?`.
    member redirect.Location
        (scheme: string, host: string, ports: AuthorityPorts, path: string, query: string)
        : string =
        let newScheme = if redirect.Scheme = "" then scheme else redirect.Scheme
        let host = if redirect.Host = "" then host else redirect.Host

        let host =
            (HostName.withoutTrailingDot (host.AsSpan())).ToString().ToLowerInvariant()

        let isWellKnown port = port = 0us || port = (if newScheme = "https" then 443us else 80us)

        let port =
            if redirect.Port <> 0us then redirect.Port
            elif redirect.Scheme <> "" then 0us
            else ports.Explicit

        let path =
            match redirect.Path with
            | Some change -> change.Of path
            | None -> path

        let url = StringBuilder()
        url.Append(newScheme).Append("://") |> ignore

        if host.Contains ':' then
            url.Append('[').Append(host).Append(']') |> ignore
        else
            url.Append host |> ignore

        if not (isWellKnown port) then
            url.Append(':').Append(port) |> ignore

        // `OPTIONS *` is for a URL without a path and query (RFC 9112, 3.2.4).
        if path <> "*" then
            url.Append path |> ignore

            if query <> "" && not redirect.StripQuery then
                url.Append('?').Append(Redirect.Query query) |> ignore

        url.ToString()

    /// In a few words: `308 https://`, `301 //www.example.com/new`.
    member redirect.Text: string =
        let port = if redirect.Port = 0us then "" else $":{redirect.Port}"

        let path =
            match redirect.Path with
            | Some(WholePath path) -> path
            | Some(PathStart(prefix, replacement)) -> $" {prefix}/ to {replacement}/"
            | None -> ""

        let scheme = if redirect.Scheme = "" then "" else redirect.Scheme + ":"
        let query = if redirect.StripQuery then " without the query" else ""
        $"redirect {redirect.Status} {scheme}//{redirect.Host}{port}{path}{query}"

/// What a plain-HTTP listener does with requests that no route matches.
type PlainDefault =
    /// Redirects to https with 308, to this port.
    | RedirectToHttps of port: uint16
    /// Responds with `no-route`.
    | AnswerNoRoute

    /// The redirect; none for `AnswerNoRoute`.
    member plain.Redirect: Redirect option =
        match plain with
        | RedirectToHttps port -> Some(Redirect.ToHttps port)
        | AnswerNoRoute -> None

/// A fixed response to HTTP requests.
type FixedResponse =
    {
        Status: int
        /// Empty when there is none, or when it is in a file.
        Body: string
        /// The path of the file with the body; empty = none.
        BodyFile: string
        /// Empty when there is no body and the configuration does not name one.
        ContentType: string
        Headers: (string * string) list
        /// In seconds; 0 = no `Retry-After`.
        RetryAfter: int64
    }

    member response.Text: string =
        let file =
            if response.BodyFile = "" then
                ""
            else
                $" with {response.BodyFile}"

        $"respond {response.Status}{file}"

/// A fixed response to gRPC calls.
type FixedGrpcResponse =
    {
        Status: Decoded.GrpcStatus
        Message: string
    }

    /// As the gRPC specification writes it: `UNAVAILABLE`.
    member response.StatusName: string =
        ActionJson.grpcStatuses
        |> List.find (fun (_, status) -> status = response.Status)
        |> fst

    member response.Text: string = $"respond {response.StatusName}"
