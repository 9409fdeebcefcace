namespace Kedge.Domain

open System
open System.Text

/// The request hosts that a route matches.
[<Struct>]
type HostMatcher =
    | AnyHost
    /// In lower case, without port, brackets or trailing dot.
    | ExactHost of host: string
    /// `*.` and then this, in lower case: every name with one or more labels before it, but not the name itself.
    | HostBelow of parent: string

    /// `host` is a request's host without port and brackets. One trailing dot and the case of ASCII letters are
    /// ignored; a host with non-ASCII characters matches only `AnyHost`. Never allocates.
    member matcher.Holds(host: ReadOnlySpan<char>) : bool =
        let host = HostName.withoutTrailingDot host

        match matcher with
        | AnyHost -> true
        | ExactHost expected -> Ascii.EqualsIgnoreCase(host, expected.AsSpan())
        | HostBelow parent ->
            let dot = host.Length - parent.Length - 1

            dot > 0
            && host[dot] = '.'
            && Ascii.EqualsIgnoreCase(host.Slice(dot + 1), parent.AsSpan())

    member matcher.Text =
        match matcher with
        | AnyHost -> "any"
        | ExactHost host -> host
        | HostBelow parent -> "*." + parent

    /// Why the host does not match; none when it does.
    member matcher.Mismatch(host: string) : Mismatch voption =
        Mismatch.unless (matcher.Holds(host.AsSpan())) "host" matcher.Text host

    /// The other wildcards that match everything that this matcher matches, longest first: for `a.b.example`,
    /// `*.b.example` and `*.example`. If two matchers share a host, they are equal, or one is among the wildcards of
    /// the other, or one is `AnyHost`.
    member matcher.Wildcards: HostMatcher list =
        let below (name: string) =
            [
                for dot in 1 .. name.Length - 2 do
                    if name[dot] = '.' then
                        HostBelow(name.Substring(dot + 1))
            ]

        match matcher with
        | AnyHost -> []
        | ExactHost name
        | HostBelow name -> below name

    /// The matcher with this `Text`, which must be that of an exact host or a wildcard.
    static member internal OfText(text: string) : HostMatcher =
        if text.StartsWith("*.", StringComparison.Ordinal) then
            HostBelow(text.Substring 2)
        else
            ExactHost text

[<RequireQualifiedAccess>]
module HostMatcher =
    /// The subject of its mismatches.
    [<Literal>]
    let Subject = "host"

    /// The mismatch of a request that has no host, where any host would do.
    let absent: Mismatch =
        {
            Subject = Subject
            Expected = ""
            Found = Mismatch.Absent
        }

    [<Literal>]
    let private Wildcard = "*."

    /// A name whose last label is a number is an IP address, well-formed or not.
    let private endsInNumber (name: string) =
        name.Substring(name.LastIndexOf '.' + 1) |> String.forall Char.IsAsciiDigit

    /// Reads `*.` and a name. The error is the rule that the text breaks.
    let private tryParseWildcard (text: string) : Result<HostMatcher, string> =
        let parent =
            HostName.withoutTrailingDot(text.AsSpan(min text.Length Wildcard.Length)).ToString().ToLowerInvariant()

        if
            text.LastIndexOf '*' > 0
            || not (text.StartsWith(Wildcard, StringComparison.Ordinal))
        then
            Error "a host name; a wildcard is written `*.` before a name, as in `*.example.com`"
        elif HostName.isIPv6 (parent.AsSpan()) || parent.Contains '[' || endsInNumber parent then
            Error "a host name; `*.` cannot come before an IP address"
        elif
            HostName.isName (parent.AsSpan())
            && parent.Length <= HostName.MaxLength - Wildcard.Length
        then
            Ok(HostBelow parent)
        else
            Error "a host name, or `*.` before one"

    /// Reads `authority_matcher`: a host, optionally with a port. Empty = any. The error is the rule that the text
    /// breaks.
    let tryParseAuthority (text: string) : Result<struct (HostMatcher * PortMatcher), string> =
        let mutable authority = Unchecked.defaultof<Authority>

        if text = "" then
            Ok(struct (AnyHost, AnyPort))
        elif text.Contains '*' then
            tryParseWildcard text |> Result.map (fun host -> struct (host, AnyPort))
        elif HostName.isIPv6 (text.AsSpan()) then
            Ok(struct (ExactHost(HostName.canonical text), AnyPort))
        elif Authority.TryParse(text.AsSpan(), &authority) then
            let host =
                HostName.canonical (text.Substring(authority.HostStart, authority.HostLength).ToLowerInvariant())

            let port =
                if authority.Port < 0 then
                    AnyPort
                else
                    ExactPort(uint16 authority.Port)

            Ok(struct (ExactHost host, port))
        else
            Error "a host name or IP address, perhaps with a port from 1 to 65535, or empty for any host"

    /// Reads `host_matcher` or `authority_host_matcher`; empty = any. The error is the rule that the text breaks.
    let tryParse (text: string) : Result<HostMatcher, string> =
        match tryParseAuthority text with
        | Ok(struct (host, AnyPort)) -> Ok host
        | Ok(struct (_, ExactPort _)) -> Error "a host name or IP address without a port"
        | Error rule when text.Contains '*' -> Error rule
        | Error _ -> Error "a host name or IP address, or empty for any host"
