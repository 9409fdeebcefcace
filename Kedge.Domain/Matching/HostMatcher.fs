namespace Kedge.Domain

open System
open System.Text

/// Which request hosts a route takes.
[<Struct>]
type HostMatcher =
    | AnyHost
    /// In lower case, without port, brackets or trailing dot.
    | ExactHost of host: string

    /// `host` is a request's host without port and brackets; one trailing dot does not count. Only ASCII letters have
    /// two cases here, and a host with any other character is equal to none. Never allocates.
    member matcher.Holds(host: ReadOnlySpan<char>) : bool =
        match matcher with
        | AnyHost -> true
        | ExactHost expected -> Ascii.EqualsIgnoreCase(HostName.withoutTrailingDot host, expected.AsSpan())

[<RequireQualifiedAccess>]
module HostMatcher =

    /// Reads `authority_matcher`: a host that may have a port. Empty = any. The error is the rule that the text breaks.
    let tryParseAuthority (text: string) : Result<struct (HostMatcher * PortMatcher), string> =
        let mutable authority = Unchecked.defaultof<Authority>

        if text = "" then
            Ok(struct (AnyHost, AnyPort))
        elif text.Contains '*' then
            Error "a host name without wildcard, or empty for any host"
        elif HostName.isIPv6 (text.AsSpan()) then
            Ok(struct (ExactHost(text.ToLowerInvariant()), AnyPort))
        elif Authority.TryParse(text.AsSpan(), &authority) then
            let host =
                text.Substring(authority.HostStart, authority.HostLength).ToLowerInvariant()

            let port =
                if authority.Port < 0 then
                    AnyPort
                else
                    ExactPort(uint16 authority.Port)

            Ok(struct (ExactHost host, port))
        else
            Error "a host name or IP address, at most with a port from 1 to 65535, or empty for any host"

    /// Reads `host_matcher` or `authority_host_matcher`; empty = any. The error is the rule that the text breaks.
    let tryParse (text: string) : Result<HostMatcher, string> =
        match tryParseAuthority text with
        | Ok(struct (host, AnyPort)) -> Ok host
        | Ok(struct (_, ExactPort _)) -> Error "a host name or IP address without a port"
        | Error rule when rule.Contains "wildcard" -> Error rule
        | Error _ -> Error "a host name or IP address, or empty for any host"
