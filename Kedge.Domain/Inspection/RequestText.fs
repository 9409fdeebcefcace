namespace Kedge.Domain

open System
open System.Collections.Generic

/// Requests as people write them: the arguments of `kedge explain`.
[<RequireQualifiedAccess>]
module RequestText =

    let private parseHeader (text: string) =
        match text.IndexOf ':' with
        | colon when colon > 0 ->
            let value = text.Substring(colon + 1).Trim()

            match HeaderMatcher.tryParse (text.Substring(0, colon).Trim(), Decoded.HeaderCondition.Is value) with
            | Ok header -> Ok(header.Name, value)
            | Error rule -> Error $"the header `{text}` is not valid: {rule}"
        | _ -> Error $"the header `{text}` is not of the form `name: value`"

    let private parseHeaders (texts: string seq) =
        (texts, Ok [])
        ||> Seq.foldBack (fun text rest ->
            rest
            |> Result.bind (fun rest -> parseHeader text |> Result.map (fun h -> h :: rest)))

    /// The target's parts. A fragment never leaves a client (RFC 9110, 4.2.5), so it is dropped.
    let private split (url: string) =
        let fragment = url.IndexOf '#'
        let url = if fragment < 0 then url else url.Substring(0, fragment)
        let mutable target = Unchecked.defaultof<RequestTarget>

        if
            RequestTarget.TryParse(url.AsSpan(), &target)
            && target.Form = TargetForm.Absolute
        then
            let path =
                if target.PathLength = 0 then
                    "/"
                else
                    url.Substring(target.PathStart, target.PathLength)

            let query =
                if target.QueryLength = 0 then
                    ""
                else
                    url.Substring(target.QueryStart + 1, target.QueryLength - 1)

            Ok(target, url.Substring(target.AuthorityStart, target.AuthorityLength), path, query)
        else
            Error $"`{url}` is not a URL that starts with `https://` or `http://`"

    let private parseAuthority (text: string) =
        let mutable authority = Unchecked.defaultof<Authority>

        if Authority.TryParse(text.AsSpan(), &authority) then
            let host =
                HostName.canonical (text.Substring(authority.HostStart, authority.HostLength).ToLowerInvariant())

            Ok(host, authority)
        else
            Error $"`{text}` is not a host with an optional port"

    let private parseMethod (path: string) =
        let slash = path.LastIndexOf '/'

        if RequestPath.hasParameters (path.AsSpan()) then
            Error $"the path `{path}` has a `;`, which no gRPC method has"
        elif slash > 1 && slash < path.Length - 1 && path.IndexOf('/', 1) = slash then
            Ok(path.Substring(1, slash - 1), path.Substring(slash + 1))
        else
            Error $"the path `{path}` is not that of a gRPC method, `/package.Service/Method`"

    /// The request that a method, a URL and headers (`name: value`) describe. `OPTIONS` with the path `/*` means
    /// `OPTIONS *`; the method and query of a gRPC call do not matter. A gRPC content type makes it a gRPC call even
    /// without the switch. A forward-proxy request has the port of its URL's scheme; any other request without a port
    /// means both 80 and 443. The error is one human-readable line.
    let parseOn
        (listener: Decoded.Listener)
        (method: string, url: string, headers: string seq, grpc: bool, forward: bool)
        : Result<Request, string> =
        if not (HttpToken.isToken (method.AsSpan())) then
            Error $"`{method}` is not a request method"
        else
            match parseHeaders headers, split url with
            | Error error, _
            | _, Error error -> Error error
            | Ok headers, Ok(target, authority, path, query) ->
                let isGrpcContent =
                    (HeaderList headers).Values "content-type"
                    |> List.tryHead
                    |> Option.exists GrpcContent.isGrpc

                let grpc = grpc || isGrpcContent

                match parseAuthority authority with
                | Error error -> Error error
                | Ok _ when grpc && forward -> Error "a gRPC call is never a forward-proxy request"
                | Ok(host, authority) ->
                    let ports =
                        if forward then
                            target.PortsOf authority
                        else
                            authority.Ports

                    if grpc then
                        parseMethod path
                        |> Result.map (fun (service, method) ->
                            Grpc
                                {
                                    Host = host
                                    Ports = ports
                                    Service = service
                                    Method = method
                                    Listener = listener
                                    Metadata = headers
                                })
                    else
                        // RFC 9112, 3.2.4: the server-wide `OPTIONS *`, written as a URL with `/*`.
                        let path = if method = "OPTIONS" && path = "/*" then "*" else path

                        RequestPath.canonicalise path
                        |> Result.map (fun path ->
                            Http
                                {
                                    Method = method
                                    Host = host
                                    Ports = ports
                                    Path = path
                                    Query = query
                                    Mode =
                                        if forward then
                                            Decoded.ProxyMode.ForwardProxy
                                        else
                                            Decoded.ProxyMode.ReverseProxy
                                    Listener = listener
                                    Headers = headers
                                })

    /// As `parseOn`, for the TLS listeners.
    let parse (method: string, url: string, headers: string seq, grpc: bool, forward: bool) : Result<Request, string> =
        parseOn Decoded.Listener.Tls (method, url, headers, grpc, forward)

    let private renderAuthority (scheme: string) (host: string) (ports: AuthorityPorts) =
        let host = if host.Contains ':' then $"[{host}]" else host

        if ports.Explicit = 0us then
            $"{scheme}://{host}"
        else
            $"{scheme}://{host}:{ports.Explicit}"

    // Single quotes as a POSIX shell reads them.
    let private quote (text: string) = "'" + text.Replace("'", "'\\''") + "'"

    let private plain =
        Buffers.SearchValues.Create "-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz%+,"

    let private word (text: string) =
        if text.AsSpan().ContainsAnyExcept plain then
            quote text
        else
            text

    let private schemeOf (request: Request) =
        match request with
        | _ when request.Listener = Decoded.Listener.Plain -> "http"
        // A request for port 80 is written with the scheme that implies it, and an authority without a port with the
        // scheme of the hop to kedge.
        | Http request when request.Ports.Explicit = 80us -> "http"
        | _ -> "https"

    let private partsWith (scheme: string) (request: Request) : string * string * string list * bool * bool =
        let lines = List.map (fun (name, value) -> $"{name}: {value}")

        match request with
        | Http request ->
            let authority = renderAuthority scheme request.Host request.Ports
            let path = if request.Path = "*" then "/*" else request.Path
            let query = if request.Query = "" then "" else "?" + request.Query

            request.Method,
            authority + path + query,
            lines request.Headers,
            false,
            request.Mode = Decoded.ProxyMode.ForwardProxy
        | Grpc request ->
            let authority = renderAuthority scheme request.Host request.Ports
            "POST", $"{authority}/{request.Service}/{request.Method}", lines request.Metadata, true, false

    /// The arguments with which `parseOn`, on the request's listener, yields the request again: method, URL, headers,
    /// gRPC, forward proxy.
    let parts (request: Request) : string * string * string list * bool * bool = partsWith (schemeOf request) request

    let private line
        (listener: Decoded.Listener)
        (method: string, url: string, headers: string list, grpc: bool, forward: bool)
        : string =
        [
            method
            word url
            if grpc then
                "--grpc"
            if forward then
                "--forward"
            if listener = Decoded.Listener.Plain then
                "--listener=plain"
            for header in headers do
                "-H " + quote header
        ]
        |> String.concat " "

    /// The request as arguments of `kedge explain`, on one line that a shell can read:
    /// `GET https://a.example/x -H 'x-env: prod'`.
    let render (request: Request) : string = line request.Listener (parts request)

    /// As `render`, with the scheme of the URL that the request was parsed from.
    let renderLike (url: string) (request: Request) : string =
        let scheme =
            if url.StartsWith("http://", StringComparison.OrdinalIgnoreCase) then
                "http"
            else
                "https"

        line request.Listener (partsWith scheme request)

    /// As `parseOn`, for C#: null and the error, or the request and an empty text.
    let tryParse
        (
            method: string,
            url: string,
            headers: IReadOnlyList<string>,
            grpc: bool,
            forward: bool,
            listener: Decoded.Listener,
            [<System.Runtime.InteropServices.Out>] error: byref<string>
        ) : Request | null =
        match parseOn listener (method, url, headers, grpc, forward) with
        | Ok request ->
            error <- ""
            request
        | Error text ->
            error <- text
            null
