namespace Kedge.Domain

open System

/// The headers (or gRPC metadata) of a request. The shell implements it with a struct, so that a request's headers reach
/// the matchers without being copied or boxed.
type IHeaders =
    /// Whether the header, whose name is compared without regard to case, has exactly this value among its values.
    abstract Has: name: string * value: string -> bool

/// One header that must be there with one value.
[<Struct>]
type HeaderMatcher =
    {
        Name: string
        Value: string
    }

    member matcher.Holds<'headers when 'headers :> IHeaders>(headers: inref<'headers>) : bool =
        headers.Has(matcher.Name, matcher.Value)

[<RequireQualifiedAccess>]
module HeaderMatcher =

    // RFC 9110, 5.6.2: the characters of a token beside letters and digits.
    let private isNameCharacter (c: char) = Char.IsAsciiLetterOrDigit c || "!#$%&'*+-.^_`|~".Contains c

    // RFC 9110, 5.5: a value has no control character but the tab, and no white space at its ends.
    let private isValueCharacter (c: char) = c = '\t' || (c >= ' ' && c <> '\127')

    /// One entry of `header_matcher` or `metadata_matcher`. The name is kept in lower case. The error is the rule that
    /// one of the texts breaks.
    let tryParse (name: string, value: string) : Result<HeaderMatcher, string> =
        if name = "" || not (Seq.forall isNameCharacter name) then
            Error "a header name: letters, digits and `!#$%&'*+-.^_`|~`"
        elif not (Seq.forall isValueCharacter value) || value.Trim([| ' '; '\t' |]) <> value then
            Error "a header value: no control characters, no white space at its ends"
        else
            Ok
                {
                    Name = name.ToLowerInvariant()
                    Value = value
                }
