namespace Kedge.Domain

open System
open System.Text

/// The request hosts that a route takes.
[<Struct>]
type HostMatcher =
    | AnyHost
    /// In lower case, without port, brackets or trailing dot.
    | ExactHost of host: string

    /// `host` is a request's host without port and brackets; one trailing dot does not count. The case of ASCII letters
    /// does not count either, and a host with other characters than ASCII never matches an exact host. Never allocates.
    member matcher.Holds(host: ReadOnlySpan<char>) : bool =
        match matcher with
        | AnyHost -> true
        | ExactHost expected -> Ascii.EqualsIgnoreCase(HostName.withoutTrailingDot host, expected.AsSpan())

    member matcher.Text =
        match matcher with
        | AnyHost -> "any"
        | ExactHost host -> host

    /// Why the matcher does not take the host; none when it does.
    member matcher.Mismatch(host: string) : Mismatch voption =
        Mismatch.unless (matcher.Holds(host.AsSpan())) "host" matcher.Text host

[<RequireQualifiedAccess>]
module HostMatcher =

    /// The subject of its mismatches.
    [<Literal>]
    let Subject = "host"

    /// That of a request which must have a host, whatever it is, and has none.
    let absent: Mismatch =
        {
            Subject = Subject
            Expected = ""
            Found = Mismatch.Absent
        }

    /// Reads `authority_matcher`: a host, perhaps with a port. Empty = any. The error is the rule that the text breaks.
    let tryParseAuthority (text: string) : Result<struct (HostMatcher * PortMatcher), string> =
        let mutable authority = Unchecked.defaultof<Authority>

        if text = "" then
            Ok(struct (AnyHost, AnyPort))
        elif text.Contains '*' then
            Error "a host name without wildcard, or empty for any host"
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
        | Error rule when rule.Contains "wildcard" -> Error rule
        | Error _ -> Error "a host name or IP address, or empty for any host"
