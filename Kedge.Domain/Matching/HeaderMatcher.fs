namespace Kedge.Domain

open System

/// The headers (or gRPC metadata) of a request. The server implements it with a struct, so that a request's headers
/// reach the matchers without being copied or boxed.
type IHeaders =
    /// Whether the header, whose name is compared without regard to case, has exactly this value among its values.
    abstract Has: name: string * value: string -> bool

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

/// One header that must be present with one value.
[<Struct>]
type HeaderMatcher =
    {
        Name: string
        Value: string
    }

    member matcher.Holds<'headers when 'headers :> IHeaders>(headers: inref<'headers>) : bool =
        headers.Has(matcher.Name, matcher.Value)

    member matcher.Text = $"{matcher.Name}={Excerpt.ofText matcher.Value}"

    /// Why the matcher does not take the headers; none when it does.
    member matcher.Mismatch(headers: HeaderList) : Mismatch voption =
        let found =
            match headers.Values matcher.Name with
            | [ "" ] -> "empty"
            | values -> String.concat ", " values

        Mismatch.unless (matcher.Holds &headers) $"header {matcher.Name}" matcher.Value found

[<RequireQualifiedAccess>]
module HeaderMatcher =

    // RFC 9110, 5.5: a value has no control character but the tab, and no white space at its ends.
    let private isValueCharacter (c: char) = c = '\t' || (c >= ' ' && c <> '\127')

    /// One entry of `header_matcher` or `metadata_matcher`. The name is kept in lower case. The error is the rule that
    /// one of the texts breaks.
    let tryParse (name: string, value: string) : Result<HeaderMatcher, string> =
        if not (HttpToken.isToken (name.AsSpan())) then
            Error "a header name: letters, digits and `!#$%&'*+-.^_`|~`"
        elif not (Seq.forall isValueCharacter value) || value.Trim([| ' '; '\t' |]) <> value then
            Error "a header value: no control characters, no white space at its ends"
        else
            Ok
                {
                    Name = name.ToLowerInvariant()
                    Value = value
                }
