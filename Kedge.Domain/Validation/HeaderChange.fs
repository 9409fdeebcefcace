namespace Kedge.Domain

open System
open System.Text.RegularExpressions

/// A property of a request that a header's value may contain.
type HeaderVariable =
    /// The caller's address, as in `X-Forwarded-For`.
    | ClientAddress
    /// The first name of the caller's verified certificate.
    | ClientSan
    /// The subject of the caller's verified token.
    | TokenSubject
    | RequestId
    /// The name of the route.
    | RouteName
    /// The host that the caller asked for, without a port.
    | RequestHost

    member variable.Text =
        match variable with
        | ClientAddress -> "{client_address}"
        | ClientSan -> "{client_san}"
        | TokenSubject -> "{token_subject}"
        | RequestId -> "{request_id}"
        | RouteName -> "{route}"
        | RequestHost -> "{host}"

    static member All: HeaderVariable list =
        [ ClientAddress; ClientSan; TokenSubject; RequestId; RouteName; RequestHost ]

type HeaderPart =
    | Literal of text: string
    | Variable of variable: HeaderVariable

/// The value that a route gives a header: a sequence of texts and variables.
type HeaderValue =
    {
        Parts: HeaderPart list
    }

    member value.Text =
        value.Parts
        |> List.map (fun part ->
            match part with
            | Literal text -> text
            | Variable variable -> variable.Text)
        |> String.concat ""

    /// Whether the value of a variable may become part of a header: visible ASCII and spaces, 1 to 4,096 characters.
    static member IsPrintable(text: string) : bool =
        text.Length > 0
        && text.Length <= HeaderRule.MaxValue
        && text |> Seq.forall (fun c -> c >= ' ' && c <= '~')

    /// The value for a request, given the values of variables (null or empty = absent). None when one of its variables
    /// is absent, or has a value that no header may contain.
    member value.Resolve(lookup: Func<HeaderVariable, string | null>) : string voption =
        match value.Parts with
        | [ Literal text ] -> ValueSome text
        | parts ->
            let resolved =
                parts
                |> List.map (fun part ->
                    match part with
                    | Literal text -> Some text
                    | Variable variable ->
                        match lookup.Invoke variable with
                        | null -> None
                        | text -> if HeaderValue.IsPrintable text then Some text else None)

            if List.forall Option.isSome resolved then
                ValueSome((resolved |> List.choose id |> String.concat "").Trim ' ')
            else
                ValueNone

/// One change of a header. Names are in lower case.
type HeaderChange =
    | RemoveHeader of name: string
    /// Replaces all values with one.
    | SetHeader of name: string * value: HeaderValue
    /// Adds one value.
    | AddHeader of name: string * value: HeaderValue

    member change.Name =
        match change with
        | RemoveHeader name
        | SetHeader(name, _)
        | AddHeader(name, _) -> name

    /// `x-env: prod`, `also x-env: prod` or `without x-env`.
    member change.Text =
        match change with
        | RemoveHeader name -> $"without {name}"
        | SetHeader(name, value) -> $"{name}: {value.Text}"
        | AddHeader(name, value) -> $"also {name}: {value.Text}"

[<RequireQualifiedAccess>]
module HeaderChange =

    /// Why a route must not change the header, whose name is valid; none when it may.
    let private reserved (name: string) : string voption =
        // CGI gateways and similar software give both spellings the same name.
        let name = name.Replace('_', '-')
        let startsWith (prefix: string) = name.StartsWith(prefix, StringComparison.Ordinal)

        match name with
        | "host" -> ValueSome "the Host that the backend sees is set with `rewrite.host`"
        | "content-length"
        | "transfer-encoding" -> ValueSome "it describes the framing of the message"
        | "connection"
        | "keep-alive"
        | "te"
        | "trailer"
        | "upgrade"
        | "http2-settings" -> ValueSome "it is about one connection (RFC 9110, 7.6.1)"
        | "proxy" -> ValueSome "headers for proxies are never forwarded"
        | "forwarded" -> ValueSome "kedge sets it from the connection; `--trusted_proxies` decides whom it believes"
        | _ when startsWith "proxy-" -> ValueSome "headers for proxies are never forwarded"
        | _ when startsWith "x-forwarded-" ->
            ValueSome "kedge sets it from the connection; `--trusted_proxies` decides whom it believes"
        | _ when startsWith "x-kedge-" -> ValueSome "headers of kedge itself cannot be changed"
        | _ when startsWith "grpc-" -> ValueSome "it belongs to the gRPC protocol"
        | _ -> ValueNone

    /// The name in lower case. The error is the rule that it breaks.
    let tryParseName (name: string) : Result<string, string> =
        if name.StartsWith ':' then
            Error "a header name; pseudo-headers cannot be changed, but `rewrite` changes the path and the host"
        elif not (HttpToken.isToken (name.AsSpan())) then
            Error "a header name: letters, digits and `!#$%&'*+-.^_`|~`"
        else
            let lower = name.ToLowerInvariant()

            match reserved lower with
            | ValueSome reason -> Error $"a header that a route may change: {reason}"
            | ValueNone -> Ok lower

    let private variable =
        Regex(@"\{([a-z_]+)\}", RegexOptions.CultureInvariant ||| RegexOptions.NonBacktracking)

    /// The error is the rule that the text breaks.
    let tryParseValue (text: string) : Result<HeaderValue, string> =
        let mutable unknown = ""

        let parts =
            [
                let mutable at = 0

                for found in variable.Matches text do
                    if found.Index > at then
                        Literal(text.Substring(at, found.Index - at))

                    match HeaderVariable.All |> List.tryFind (fun known -> known.Text = found.Value) with
                    | Some known -> Variable known
                    | None -> unknown <- found.Value

                    at <- found.Index + found.Length

                if at < text.Length || text = "" then
                    Literal(text.Substring at)
            ]

        if text.Length > HeaderRule.MaxValue then
            Error $"at most {HeaderRule.MaxValue} characters"
        elif not (HeaderRule.isValue text) then
            Error "a header value: visible ASCII and blanks, none at its ends"
        elif unknown <> "" then
            let known = HeaderVariable.All |> List.map _.Text |> String.concat ", "
            Error $"a text in which the variables are among {known}, not {unknown}"
        else
            Ok { Parts = parts }

    /// The headers after the changes, in order. An absent value removes its header, including what the caller sent
    /// under that name, so that callers cannot forge what a route says about them.
    let apply
        (lookup: HeaderVariable -> string option)
        (changes: HeaderChange list)
        (headers: (string * string) list)
        : (string * string) list =
        let lookup =
            Func<HeaderVariable, string | null>(fun variable -> Option.toObj (lookup variable))

        let without (name: string) headers =
            headers
            |> List.filter (fun (other: string, _) -> not (other.Equals(name, StringComparison.OrdinalIgnoreCase)))

        (headers, changes)
        ||> List.fold (fun headers change ->
            match change with
            | RemoveHeader name -> without name headers
            | SetHeader(name, value) ->
                match value.Resolve lookup with
                | ValueSome text -> without name headers @ [ (name, text) ]
                | ValueNone -> without name headers
            | AddHeader(name, value) ->
                match value.Resolve lookup with
                | ValueSome text -> headers @ [ (name, text) ]
                | ValueNone -> without name headers)
