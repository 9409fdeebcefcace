namespace Kedge.Domain

open System
open System.Text

/// Validates the actions that need no backend: redirects and fixed responses.
[<RequireQualifiedAccess>]
module internal OwnAction =

    /// The largest body in the configuration itself, in bytes. A larger one needs a file.
    let private maxBody = 64 * 1024

    let private redirectStatuses = [ 301u; 302u; 303u; 307u; 308u ]

    /// The rule is the same as for `host_matcher`, without wildcards.
    let private redirectHost (checks: Checks) path (host: string) =
        let bare = NameRule.withoutBrackets host
        let isHost = host = "" || NameRule.isHost host
        checks.Require(Field "host" :: path, "must be a host without a scheme, port and path", host, isHost)
        (HostName.withoutTrailingDot (bare.AsSpan())).ToString().ToLowerInvariant()

    let redirect (checks: Checks) path (rules: PathRule array) (redirect: Decoded.Redirect) : Redirect =
        if
            redirect.Scheme = ""
            && redirect.Host = ""
            && redirect.Port = 0u
            && redirect.Path.IsNone
            && not redirect.StripQuery
        then
            let rule =
                "must change something, or the caller comes back: give scheme, host, port, path or strip_query"

            checks.Report(path, Malformed(rule, "nothing"))

        let isScheme =
            redirect.Scheme = "" || redirect.Scheme = "http" || redirect.Scheme = "https"

        checks.Require(Field "scheme" :: path, "must be http or https", redirect.Scheme, isScheme)
        checks.InRange(Field "port" :: path, NumberRange.optionalPort, redirect.Port)

        if redirect.Status <> 0u && not (List.contains redirect.Status redirectStatuses) then
            checks.Report(Field "status" :: path, OutOfRange("301, 302, 303, 307 or 308", string redirect.Status))

        {
            Scheme = redirect.Scheme
            Host = redirectHost checks path redirect.Host
            Port = uint16 redirect.Port
            Path =
                redirect.Path
                |> Option.map (PathReplacement.validate checks (Field "path" :: path) rules)
            Status = if redirect.Status = 0u then 302 else int redirect.Status
            StripQuery = redirect.StripQuery
        }

    /// RFC 9110: 204, 205 and 304 have no content.
    let private hasNoBody (status: uint32) = status = 204u || status = 205u || status = 304u

    let private header (checks: Checks) path (name: string) (value: string) =
        let path = Field name :: Field "headers" :: path

        match HeaderRule.problem name, name.ToLowerInvariant() with
        | Some problem, _ -> checks.Malformed(path, problem, name)
        | None, "content-type" -> checks.Malformed(path, "must be written as content_type", name)
        | None, "retry-after" -> checks.Malformed(path, "must be written as retry_after", name)
        | None, _ ->
            let rule =
                $"must be visible ASCII and spaces, at most {HeaderRule.MaxValue} characters"

            checks.Require(path, rule, value, HeaderRule.isValue value)

    let respond (checks: Checks) path (respond: Decoded.Respond) : FixedResponse =
        let hasBody = respond.Body <> "" || respond.BodyFile <> ""

        if respond.Status = 0u then
            checks.Report(path, Missing "status")
        else
            checks.InRange(Field "status" :: path, NumberRange.status, respond.Status)

        if respond.Body <> "" && respond.BodyFile <> "" then
            checks.Malformed(Field "body_file" :: path, "says the same as body: keep one of them", respond.BodyFile)
        elif hasBody && hasNoBody respond.Status then
            let field = if respond.Body <> "" then "body" else "body_file"
            let rule = $"must be omitted: a response with status {respond.Status} has no body"
            checks.Malformed(Field field :: path, rule, respond.Body + respond.BodyFile)

        let bytes = Encoding.UTF8.GetByteCount respond.Body

        if bytes > maxBody then
            let rule = $"must be at most {maxBody} bytes; put a larger one into a body_file"
            checks.Report(Field "body" :: path, Malformed(rule, $"{bytes} bytes"))

        checks.Require(
            Field "body_file" :: path,
            "must be the path of a file",
            respond.BodyFile,
            not (respond.BodyFile |> String.exists Char.IsControl)
        )

        checks.Require(
            Field "content_type" :: path,
            "must be a media type such as text/html",
            respond.ContentType,
            respond.ContentType = ""
            || (HeaderRule.isValue respond.ContentType && respond.ContentType.Contains '/')
        )

        for KeyValue(name, value) in respond.Headers do
            header checks path name value

        {
            Status = int respond.Status
            Body = respond.Body
            BodyFile = respond.BodyFile
            ContentType =
                if respond.ContentType <> "" then respond.ContentType
                elif hasBody then "text/plain; charset=utf-8"
                else ""
            Headers = Map.toList respond.Headers
            RetryAfter = int64 (ceil respond.RetryAfter.TotalSeconds)
        }

    let grpcRespond (checks: Checks) path (respond: Decoded.GrpcRespond) : FixedGrpcResponse =
        if respond.GrpcStatus = Decoded.GrpcStatus.Ok then
            let rule = "is required, and must not be OK: a call that succeeds needs a message"
            checks.Report(Field "grpc_status" :: path, Malformed(rule, "OK or absent"))

        {
            Status = respond.GrpcStatus
            Message = respond.Message
        }
