namespace Kedge.Domain

open System

/// A name that a certificate gives its subject (RFC 5280, 4.2.1.6). Names of other kinds never authorize a caller.
[<Struct>]
type SubjectAltName =
    | DnsSan of dns: string
    | UriSan of uri: string
    | EmailSan of email: string

/// One entry of a rule's `client_cert_sans`. A pattern is only compared with names of its own kind, so that a
/// certificate cannot pass with, say, an email address that looks like another caller's URI.
[<Struct>]
type SanMatcher =
    | ExactDns of name: string
    /// `*.` and then this: matches a name with exactly one label before it.
    | DnsOneLabelBelow of parent: string
    | ExactUri of uri: string
    | ExactEmail of email: string

    /// A pattern with a `:` is a URI, one with an `@` an email address, any other a DNS name.
    static member Parse(pattern: string) : SanMatcher =
        if pattern.Contains ':' then
            ExactUri pattern
        elif pattern.Contains '@' then
            ExactEmail pattern
        elif pattern.StartsWith("*.", StringComparison.Ordinal) then
            DnsOneLabelBelow(pattern.Substring 2)
        else
            ExactDns pattern

    /// DNS names are case-insensitive, and `*` stands for one whole label, as in certificates (RFC 6125, 6.4.3). A `*`
    /// in the certificate's own name is not a wildcard. URIs are compared character by character. In an email address,
    /// only the domain is case-insensitive (RFC 5280, 7.5).
    member matcher.Holds(san: SubjectAltName) : bool =
        match matcher with
        | ExactDns expected ->
            match san with
            | DnsSan name -> String.Equals(expected, name, StringComparison.OrdinalIgnoreCase)
            | _ -> false
        | DnsOneLabelBelow parent ->
            match san with
            | DnsSan name ->
                let dot = name.IndexOf '.'

                dot > 0
                && parent.Length > 0
                && MemoryExtensions.Equals(name.AsSpan(dot + 1), parent.AsSpan(), StringComparison.OrdinalIgnoreCase)
            | _ -> false
        | ExactUri expected ->
            match san with
            | UriSan uri -> String.Equals(expected, uri, StringComparison.Ordinal)
            | _ -> false
        | ExactEmail expected ->
            match san with
            | EmailSan email ->
                let at = email.LastIndexOf '@'

                at > 0
                && expected.LastIndexOf '@' = at
                && MemoryExtensions.Equals(email.AsSpan(0, at), expected.AsSpan(0, at), StringComparison.Ordinal)
                && MemoryExtensions.Equals(email.AsSpan at, expected.AsSpan at, StringComparison.OrdinalIgnoreCase)
            | _ -> false
