namespace Kedge.Domain

open System

/// Changes a backend's own host and paths in its responses back to those that the caller knows, like nginx's
/// `proxy_redirect` and `proxy_cookie_path`.
[<RequireQualifiedAccess>]
module ReverseLocation =

    let private back (filters: Filters) (path: string) : string voption =
        match filters.Path with
        | None -> ValueNone
        | Some rewrite ->
            match RequestPath.canonicalise path with
            | Ok canonical -> rewrite.Back canonical
            | Error _ -> ValueNone

    /// The path and what follows it: a query, a fragment or nothing.
    let private split (text: string) =
        match text.IndexOfAny [| '?'; '#' |] with
        | -1 -> text, ""
        | at -> text.Substring(0, at), text.Substring at

    let private relocated (filters: Filters) (pathAndRest: string) =
        let path, rest = split pathAndRest
        let path = if path = "" then "/" else path

        match back filters path with
        | ValueSome known -> known + rest
        | ValueNone -> pathAndRest

    /// Whether both name the same host and port; a missing port is the scheme's default.
    let private isSame (scheme: string) (one: string) (other: string) =
        let standard = if scheme = "https" then 443 else 80

        let read (text: string) =
            let mutable authority = Unchecked.defaultof<Authority>

            if Authority.TryParse(text.AsSpan(), &authority) then
                let host =
                    text.Substring(authority.HostStart, authority.HostLength).ToLowerInvariant()

                ValueSome(struct (host, (if authority.Port < 0 then standard else authority.Port)))
            else
                ValueNone

        match read one, read other with
        | ValueSome one, ValueSome other -> one = other
        | _ -> false

    /// `Location` or `Content-Location`. `scheme` and `authority` come from the caller's request. A reference to
    /// another host, or to a path that no caller reaches through the route, stays as it is.
    let location (filters: Filters) (scheme: string) (authority: string) (value: string) : string =
        let hostSeen = if filters.Host = "" then authority else filters.Host

        let absolute (reference: string) (targetScheme: string) (prefix: string) =
            let rest = reference.Substring prefix.Length

            let found, path =
                match rest.IndexOfAny [| '/'; '?'; '#' |] with
                | -1 -> rest, ""
                | at -> rest.Substring(0, at), rest.Substring at

            if not (isSame targetScheme found hostSeen) then
                reference
            elif filters.Host = "" then
                prefix + found + relocated filters path
            elif prefix = "//" then
                "//" + authority + relocated filters path
            else
                $"{scheme}://{authority}{relocated filters path}"

        if value.StartsWith("http://", StringComparison.OrdinalIgnoreCase) then
            absolute value "http" (value.Substring(0, 7))
        elif value.StartsWith("https://", StringComparison.OrdinalIgnoreCase) then
            absolute value "https" (value.Substring(0, 8))
        elif value.StartsWith("//", StringComparison.Ordinal) then
            absolute value scheme "//"
        elif value.StartsWith '/' then
            relocated filters value
        else
            value

    /// `Set-Cookie`: the attribute `Path`.
    let cookie (filters: Filters) (value: string) : string =
        let attributes = value.Split ';'

        for index in 1 .. attributes.Length - 1 do
            let attribute = attributes[index]

            match attribute.IndexOf '=' with
            | -1 -> ()
            | equals when attribute.Substring(0, equals).Trim().Equals("path", StringComparison.OrdinalIgnoreCase) ->
                let path = attribute.Substring(equals + 1).Trim()

                // A cookie for the root is also one for the prefix itself.
                let known =
                    match filters.Path with
                    | Some(PathStart(prefix, "")) when path = "/" && prefix <> "" -> ValueSome prefix
                    | _ -> back filters path

                match known with
                | ValueSome known -> attributes[index] <- attribute.Substring(0, equals + 1) + known
                | ValueNone -> ()
            | _ -> ()

        String.Join(';', attributes)
