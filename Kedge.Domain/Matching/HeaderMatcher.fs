namespace Kedge.Domain

open System
open Kedge.Domain.Decoded

/// The headers (or gRPC metadata) of a request. The server implements it with a struct, so that a request's headers
/// reach the matchers without being copied or boxed.
type IHeaders =
    /// Whether one of the header's values is exactly this value. Header names are case-insensitive.
    abstract Has: name: string * value: string -> bool

    /// Whether one of the header's values starts with the prefix. Every value starts with the empty prefix.
    abstract HasPrefix: name: string * prefix: string -> bool

/// Headers as a list, for requests that are values.
[<Struct>]
type HeaderList(headers: (string * string) list) =

    /// All values of a header, in order.
    member _.Values(name: string) : string list =
        headers
        |> List.choose (fun (other, value) ->
            if String.Equals(other, name, StringComparison.OrdinalIgnoreCase) then
                Some value
            else
                None)

    interface IHeaders with
        member list.Has(name, value) = List.contains value (list.Values name)

        member list.HasPrefix(name, prefix) =
            list.Values name |> List.exists _.StartsWith(prefix, StringComparison.Ordinal)

/// One header that must be present, optionally with a certain value.
[<Struct>]
type HeaderMatcher =
    {
        /// In lower case.
        Name: string
        Condition: HeaderCondition
    }

    member matcher.Holds<'headers when 'headers :> IHeaders>(headers: inref<'headers>) : bool =
        match matcher.Condition with
        | HeaderCondition.Is value -> headers.Has(matcher.Name, value)
        | HeaderCondition.StartsWith prefix -> headers.HasPrefix(matcher.Name, prefix)
        | HeaderCondition.Present -> headers.HasPrefix(matcher.Name, "")

    /// The pattern of the value; `*` stands for anything.
    member private matcher.Value =
        match matcher.Condition with
        | HeaderCondition.Is value -> value
        | HeaderCondition.StartsWith prefix -> prefix + "*"
        | HeaderCondition.Present -> "*"

    member matcher.Text = $"{matcher.Name}={Excerpt.ofText matcher.Value}"

    /// Why the headers do not match; none when they do.
    member matcher.Mismatch(headers: HeaderList) : Mismatch voption =
        let found =
            match headers.Values matcher.Name with
            | [ "" ] -> "empty"
            | values -> String.concat ", " values

        let expected =
            if matcher.Condition = HeaderCondition.Present then
                ""
            else
                matcher.Value

        Mismatch.unless (matcher.Holds &headers) $"header {matcher.Name}" expected found

[<RequireQualifiedAccess>]
module HeaderMatcher =

    // RFC 9110, 5.5: a value contains no control characters except tabs, and no leading or trailing white space.
    let private isValueCharacter (c: char) = c = '\t' || (c >= ' ' && c <> '\127')

    let private blanks = [| ' '; '\t' |]

    /// One entry of `header_matcher` or `metadata_matcher`. The name is stored in lower case. The error is the rule
    /// that the name or the value breaks.
    let tryParse (name: string, condition: HeaderCondition) : Result<HeaderMatcher, string> =
        let isValid =
            match condition with
            | HeaderCondition.Is value -> Seq.forall isValueCharacter value && value.Trim blanks = value
            | HeaderCondition.StartsWith prefix ->
                Seq.forall isValueCharacter prefix && prefix.TrimStart blanks = prefix
            | HeaderCondition.Present -> true

        if not (HttpToken.isToken (name.AsSpan())) then
            Error "a header name: letters, digits and `!#$%&'*+-.^_`|~`"
        elif condition = HeaderCondition.StartsWith "" then
            Error "a prefix that is not empty; `{\"present\": true}` takes any value"
        elif not isValid then
            Error "a header value: no control characters, no white space at its ends"
        else
            Ok
                {
                    Name = name.ToLowerInvariant()
                    Condition = condition
                }
