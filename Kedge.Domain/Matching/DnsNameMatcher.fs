namespace Kedge.Domain

open System

/// A name matcher of an ad-hoc rule.
[<Struct>]
type DnsNameMatcher =
    | ExactName of name: string
    /// The text after the leading `*`.
    | NameSuffix of suffix: string

    /// `name` is a request's host without port and brackets; one trailing dot and the case of ASCII letters are
    /// ignored. A request without a host has no name, and nothing matches it. Never allocates.
    member matcher.Holds(name: ReadOnlySpan<char>) : bool =
        let name = HostName.withoutTrailingDot name

        match matcher with
        | ExactName expected -> name.Length > 0 && Text.Ascii.EqualsIgnoreCase(name, expected.AsSpan())
        | NameSuffix suffix ->
            name.Length > 0
            && name.Length >= suffix.Length
            && Text.Ascii.EqualsIgnoreCase(name.Slice(name.Length - suffix.Length), suffix.AsSpan())

    member matcher.Text =
        match matcher with
        | ExactName name -> name
        | NameSuffix suffix -> "*" + suffix

    /// Why the name does not match; none when it does.
    member matcher.Mismatch(name: string) : Mismatch voption =
        Mismatch.unless (matcher.Holds(name.AsSpan())) "name" matcher.Text name

[<RequireQualifiedAccess>]
module DnsNameMatcher =

    /// The subject of its mismatches.
    [<Literal>]
    let Subject = "name"

    /// Reads `dns_name_matcher`: a name, `*` and the end of a name, or `*` alone for every name. The error is the rule
    /// that the text breaks.
    let tryParse (text: string) : Result<DnsNameMatcher, string> =
        let suffix = text.Length > 0 && text[0] = '*'
        let name = if suffix then text.Substring 1 else text
        let name = HostName.withoutTrailingDot (name.AsSpan())

        // A suffix may start with a dot, a whole name may not.
        let bare =
            if suffix && name.Length > 1 && name[0] = '.' then
                name.Slice 1
            else
                name

        if text = "*" then
            Ok(NameSuffix "")
        elif suffix && HostName.isLabels bare && not (HostName.endsInNumber bare) then
            Ok(NameSuffix(name.ToString().ToLowerInvariant()))
        elif not suffix && HostName.isHost name then
            Ok(ExactName(HostName.canonical (name.ToString().ToLowerInvariant())))
        else
            Error "a host name or IP address, or `*` and the end of a name (`*.pod.cluster.local`)"
