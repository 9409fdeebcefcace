namespace Kedge.Client.Domain

open System
open Kedge.Domain
open Kedge.Client.Domain.Decoded

/// Settings from outside the files.
type MapperOptions =
    {
        /// Hosts of kedges that templates without a safe suffix may lead to, in addition to the file's: `*.name` or a
        /// name.
        AllowedKedges: string list
        /// Whether templates may lead to any host.
        UnsafeTemplates: bool
    }

    static member val Default =
        {
            AllowedKedges = []
            UnsafeTemplates = false
        }

/// Validates the mapper file.
[<RequireQualifiedAccess>]
module internal Routes =

    /// Headers that a route may not set: they belong to the connection, to the route or to the credentials.
    let private reserved =
        set
            [
                "authorization"
                "connection"
                "content-length"
                "cookie"
                "host"
                "keep-alive"
                "proxy-authorization"
                "proxy-connection"
                "te"
                "trailer"
                "transfer-encoding"
                "upgrade"
            ]

    let private kindOf (destination: Destination) =
        match destination with
        | Direct _ -> "direct"
        | Regexp _ -> "regexp"
        | Suffix _ -> "suffix"
        | Single _ -> "single"

    let private directRule =
        "must be a host name, or a host name and a port (addresses are never mapped)"

    /// A key in the form of a target's host or authority.
    let private directKey (key: string) : Result<string, string> =
        let mutable parts = Unchecked.defaultof<Authority>

        match Target.TryParse(key.Trim(), 1) with
        | true, (NonNull target) when not target.IsAddress ->
            Authority.TryParse(key.Trim().AsSpan(), &parts) |> ignore
            Ok(if parts.Port < 0 then target.Host else target.Authority)
        | _ -> Error directRule

    let private rule
        (checks: Checks)
        (options: MapperOptions)
        (file: MapperFile)
        (path: Step list)
        (route: RouteEntry)
        : RouteRule option =
        let kind = kindOf route.Destination
        let path = Field kind :: path
        let hasCredentials = route.BackendAuth <> "" || route.ProxyAuth <> ""
        let at (field: string) = Field field :: path

        let required (field: string) (value: string) =
            if value = "" then
                checks.Report(path, Missing field)

            value <> ""

        let url (text: string) =
            if not (required "url" text) then
                None
            else
                match KedgeUrl.parse text with
                | Ok kedge -> Some kedge
                | Error rule ->
                    checks.Malformed(at "url", rule, text)
                    None

        let demandTls (field: string) (text: string) (isTls: bool) =
            checks.Require(
                at field,
                "must be https, because the route has credentials, which never travel in clear text",
                text,
                isTls || not hasCredentials
            )

        match route.Destination with
        | Direct(key, text) ->
            let hasKey = required "key" key
            let kedge = url text
            kedge |> Option.iter (fun kedge -> demandTls "url" text kedge.IsTls)

            match (if hasKey then directKey key else Error ""), kedge with
            | Ok key, Some kedge -> Some(RouteRule.Direct(key, kedge))
            | Error rule, _ ->
                if hasKey then
                    checks.Malformed(at "key", rule, key)

                None
            | _ -> None
        | Single text ->
            url text
            |> Option.map (fun kedge ->
                demandTls "url" text kedge.IsTls
                RouteRule.Single kedge)
        | Suffix(pattern, suffix, scheme, port) ->
            let hasPattern = required "pattern" pattern
            let hasSuffix = required "suffix" suffix

            if hasPattern then
                checks.Require(at "pattern", SuffixRule.patternRule, pattern, SuffixRule.isPattern pattern)

            if hasSuffix then
                checks.Require(at "suffix", SuffixRule.suffixRule, suffix, HostGuard.isSafeSuffix suffix)

            checks.Require(
                at "scheme",
                "must be https or http",
                scheme,
                scheme = "" || scheme = "https" || scheme = "http"
            )

            checks.InRange(at "port", NumberRange.optionalPort, port)
            let isTls = scheme <> "http"
            demandTls "scheme" scheme isTls

            if hasPattern && hasSuffix then
                let port = if port = 0u then KedgeUrl.defaultPort isTls else int port
                Some(RouteRule.Suffix(SuffixRule(pattern, suffix, isTls, port)))
            else
                None
        | Regexp(exp, text) ->
            let pattern =
                if not (required "exp" exp) then
                    None
                else
                    match Pattern.Parse exp with
                    | Ok pattern -> Some pattern
                    | Error fault ->
                        checks.Malformed(at "exp", $"must be a pattern: at character {fault.At}, {fault.Detail}", exp)
                        None

            let hasUrl = required "url" text

            match pattern with
            | Some pattern when hasUrl ->
                match Template.parse pattern.Groups text with
                | Error rule ->
                    checks.Malformed(at "url", rule, text)
                    None
                | Ok template ->
                    demandTls "url" text template.IsTls
                    let allowed = route.AllowedKedges @ file.AllowedKedges @ options.AllowedKedges

                    let guard =
                        if not template.HostIsOpen then
                            Some HostGuard.Unchecked
                        elif template.Suffix <> "" then
                            Some(HostGuard.Under template.Suffix)
                        elif not allowed.IsEmpty then
                            Some(HostGuard.Allowed allowed)
                        elif route.Unsafe || options.UnsafeTemplates then
                            Some HostGuard.Unchecked
                        else
                            None

                    match guard with
                    | Some guard -> Some(RouteRule.Regexp(pattern, template, guard))
                    | None ->
                        checks.Malformed(
                            at "url",
                            "must end in a fixed part of two labels or more, such as .kedge.example.com, because otherwise "
                            + "a crafted host leads to a server of anyone's; or name the kedges in allowed_kedges",
                            text
                        )

                        None
            | _ -> None

    let private headers (checks: Checks) (path: Step list) (route: RouteEntry) =
        for KeyValue(name, value) in route.Headers do
            let path = Field name :: Field "headers" :: path

            if not (HttpToken.isToken (name.AsSpan())) then
                checks.Malformed(path, "must be the name of a header", name)
            elif reserved.Contains(name.ToLowerInvariant()) then
                checks.Malformed(path, "is not a header that a route can set", name)

            checks.Require(
                path,
                "must be visible ASCII characters and blanks",
                value,
                value |> String.forall (fun c -> c >= ' ' && c < '\127')
            )

    let private tls (checks: Checks) (path: Step list) (route: RouteEntry) =
        route.Tls
        |> Option.iter (fun tls ->
            let path = Field "tls" :: path

            match tls.ClientCertFile, tls.ClientKeyFile with
            | "", "" -> ()
            | "", _ -> checks.Report(path, Missing "client_cert_file")
            | _, "" -> checks.Report(path, Missing "client_key_file")
            | _ -> ()

            checks.Require(
                Field "server_name" :: path,
                "must be a host name",
                tls.ServerName,
                tls.ServerName = "" || NameRule.isHost tls.ServerName
            ))

    let private allowed (checks: Checks) (path: Step list) (patterns: string list) =
        patterns
        |> List.iteri (fun i pattern ->
            checks.Require(
                Step.Index i :: Field "allowed_kedges" :: path,
                HostGuard.patternRule,
                pattern,
                HostGuard.isPattern pattern
            ))

    /// A reference to a source; without a list of sources nothing is checked.
    let private reference (checks: Checks) (sources: AuthSource list option) path (field: string) (name: string) =
        match sources with
        | Some sources when name <> "" ->
            match sources |> List.tryFind (fun source -> source.Name = name) with
            | None ->
                let suggestion = Suggestion.closest (sources |> Seq.map _.Name) name
                checks.Report(Field field :: path, UnknownReference("auth source", name, suggestion))
            | Some { Kind = ClientCertificate _ } when field = "backend_auth" ->
                checks.Malformed(Field field :: path, "must not be a client certificate: backends do not see it", name)
            | Some _ -> ()
        | _ -> ()

    let validate
        (options: MapperOptions)
        (sources: AuthSource list option)
        (file: MapperFile)
        : Result<Route array, Violation list> =
        let checks = Checks()

        if file.Routes.IsEmpty then
            checks.Report([], Missing "routes")

        allowed checks [] file.AllowedKedges

        let routes =
            file.Routes
            |> List.mapi (fun i route ->
                let path = [ Step.Index i; Field "routes" ]
                reference checks sources path "backend_auth" route.BackendAuth
                reference checks sources path "proxy_auth" route.ProxyAuth
                headers checks path route
                tls checks path route
                allowed checks path route.AllowedKedges

                checks.DurationInRange(
                    Field "timeout" :: path,
                    TimeSpan.FromMilliseconds 1.0,
                    TimeSpan.FromDays 1.0,
                    route.Timeout
                )

                rule checks options file path route
                |> Option.map (fun rule -> Route(i, rule, route)))

        match checks.Violations with
        | [] -> Ok(routes |> List.choose id |> Array.ofList)
        | violations -> Error violations

    /// Settings that are allowed but probably mistakes.
    let warnings (routes: Route array) : Violation list =
        [
            let earlier = Collections.Generic.Dictionary<string, int>()
            let mutable everything = -1

            for route in routes do
                let path = [ Field "routes"; Step.Index route.Index ]

                if everything >= 0 then
                    {
                        Path = path
                        Problem =
                            Malformed($"is never used: routes[{everything}] takes every host", Excerpt.quote route.Text)
                    }

                match route.Rule with
                | RouteRule.Regexp(pattern, _, _) when not pattern.IsAnchoredAtStart || not pattern.IsAnchoredAtEnd ->
                    let missing =
                        match pattern.IsAnchoredAtStart, pattern.IsAnchoredAtEnd with
                        | false, false -> "^ and $"
                        | false, true -> "^"
                        | _ -> "$"

                    {
                        Path = path @ [ Field "regexp"; Field "exp" ]
                        Problem =
                            Malformed(
                                $"matches anywhere in a host: write {missing} to match the whole of it",
                                Excerpt.quote pattern.Text
                            )
                    }
                | RouteRule.Regexp(_, template, HostGuard.Unchecked) when template.HostIsOpen ->
                    {
                        Path = path @ [ Field "regexp"; Field "url" ]
                        Problem =
                            Malformed(
                                "lets a crafted host choose the server that gets the credentials",
                                Excerpt.quote template.Text
                            )
                    }
                | RouteRule.Direct(key, _) when route.Takes Protocol.Http && route.Takes Protocol.Grpc ->
                    match earlier.TryGetValue key with
                    | true, first ->
                        {
                            Path = path
                            Problem = Malformed($"is never used: routes[{first}] has the same key", Excerpt.quote key)
                        }
                    | _ -> earlier[key] <- route.Index
                | RouteRule.Single _ when route.Takes Protocol.Http && route.Takes Protocol.Grpc && everything < 0 ->
                    everything <- route.Index
                | _ -> ()
        ]
