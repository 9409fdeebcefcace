namespace Kedge.Domain

open System

/// A name matcher of an ad-hoc rule.
[<Struct>]
type DnsNameMatcher =
    | ExactName of name: string
    /// What stands behind the leading `*`.
    | NameSuffix of suffix: string

    /// `name` is a request's host without port and brackets; one trailing dot does not count, nor does the case of ASCII
    /// letters. A request without a host has no name, and nothing matches it. Never allocates.
    member matcher.Holds(name: ReadOnlySpan<char>) : bool =
        let name = HostName.withoutTrailingDot name

        match matcher with
        | ExactName expected -> name.Length > 0 && Text.Ascii.EqualsIgnoreCase(name, expected.AsSpan())
        | NameSuffix suffix ->
            name.Length > 0
            && name.Length >= suffix.Length
            && Text.Ascii.EqualsIgnoreCase(name.Slice(name.Length - suffix.Length), suffix.AsSpan())

[<RequireQualifiedAccess>]
module DnsNameMatcher =

    /// Reads `dns_name_matcher`: a name, `*` and the end of one, or `*` alone for every name. The error is the rule that
    /// the text breaks.
    let tryParse (text: string) : Result<DnsNameMatcher, string> =
        let suffix = text.Length > 0 && text[0] = '*'
        let name = if suffix then text.Substring 1 else text
        let name = HostName.withoutTrailingDot (name.AsSpan())

        // A suffix may start with the dot that a whole name may not start with.
        let bare =
            if suffix && name.Length > 1 && name[0] = '.' then
                name.Slice 1
            else
                name

        if text = "*" then
            Ok(NameSuffix "")
        elif HostName.isName bare || HostName.isIPv6 bare then
            let name = name.ToString().ToLowerInvariant()
            Ok(if suffix then NameSuffix name else ExactName name)
        else
            Error "a host name, or `*` and the end of one (`*.pod.cluster.local`)"
