namespace Kedge.Domain

open System
open System.Text

/// The decoded texts of a request's query: `+` is a space and `%41` is `A`; a malformed escape stands for itself. kedge
/// forwards a query as it was sent.
[<RequireQualifiedAccess>]
module QueryText =

    /// The octet at `at`, and the number of characters that encode it. The octet is -1 for a non-ASCII character, which
    /// no request target contains.
    let internal octetAt (text: ReadOnlySpan<char>) (at: int) : struct (int * int) =
        let c = text[at]

        if c = '+' then
            struct (int ' ', 1)
        elif
            c = '%'
            && at + 2 < text.Length
            && Char.IsAsciiHexDigit text[at + 1]
            && Char.IsAsciiHexDigit text[at + 2]
        then
            let digit (c: char) =
                if c <= '9' then
                    int c - int '0'
                else
                    (int c ||| 0x20) - int 'a' + 10

            struct (digit text[at + 1] * 16 + digit text[at + 2], 3)
        elif c < '\128' then
            struct (int c, 1)
        else
            struct (-1, 1)

    /// Whether the text decodes to these octets. Never allocates.
    let equals (text: ReadOnlySpan<char>) (octets: ReadOnlySpan<byte>) : bool =
        let mutable at = 0
        let mutable matched = 0
        let mutable holds = true

        while holds && at < text.Length do
            let struct (octet, length) = octetAt text at
            holds <- matched < octets.Length && octet = int octets[matched]
            matched <- matched + 1
            at <- at + length

        holds && matched = octets.Length

    /// The decoded text, as messages show it.
    let decode (text: string) : string =
        let octets = ResizeArray<byte>()
        let mutable at = 0

        while at < text.Length do
            let struct (octet, length) = octetAt (text.AsSpan()) at

            if octet >= 0 then
                octets.Add(byte octet)
            else
                octets.AddRange(Encoding.UTF8.GetBytes(text.Substring(at, length)))

            at <- at + length

        Encoding.UTF8.GetString(octets.ToArray())

    /// The parameters of a query (without its `?`), in order, still encoded. One without a `=` has an empty value.
    let parameters (query: string) : (string * string) list =
        [
            for parameter in query.Split('&', StringSplitOptions.RemoveEmptyEntries) do
                match parameter.IndexOf '=' with
                | -1 -> parameter, ""
                | at -> parameter.Substring(0, at), parameter.Substring(at + 1)
        ]

    /// A query with these parameters.
    let render (parameters: (string * string) list) : string =
        parameters
        |> List.map (fun (name, value) -> Uri.EscapeDataString name + "=" + Uri.EscapeDataString value)
        |> String.concat "&"

/// One query parameter that must be present with one value. Both are compared with the decoded query; if a name occurs
/// several times, its first value counts.
[<Struct>]
type QueryMatcher =
    {
        Name: string
        Value: string
        /// Both in UTF-8.
        NameOctets: byte array
        ValueOctets: byte array
    }

    static member Of(name: string, value: string) : QueryMatcher =
        {
            Name = name
            Value = value
            NameOctets = Encoding.UTF8.GetBytes name
            ValueOctets = Encoding.UTF8.GetBytes value
        }

    /// `query` is the request's, without its `?`. Never allocates.
    member matcher.Holds(query: ReadOnlySpan<char>) : bool =
        let mutable rest = query
        let mutable decided = false
        let mutable holds = false

        while not decided && rest.Length > 0 do
            let length =
                match rest.IndexOf '&' with
                | -1 -> rest.Length
                | at -> at

            let parameter = rest.Slice(0, length)
            rest <- rest.Slice(min rest.Length (length + 1))
            let equals = parameter.IndexOf '='
            let name = if equals < 0 then parameter else parameter.Slice(0, equals)

            if parameter.Length > 0 && QueryText.equals name (ReadOnlySpan matcher.NameOctets) then
                decided <- true

                holds <-
                    QueryText.equals
                        (if equals < 0 then
                             ReadOnlySpan.Empty
                         else
                             parameter.Slice(equals + 1))
                        (ReadOnlySpan matcher.ValueOctets)

        holds

    member matcher.Text = $"{Excerpt.ofText matcher.Name}={Excerpt.ofText matcher.Value}"

    /// Why the query does not match; none when it does.
    member matcher.Mismatch(query: string) : Mismatch voption =
        let octets = matcher.NameOctets

        let found =
            QueryText.parameters query
            |> List.tryPick (fun (name, value) ->
                if QueryText.equals (name.AsSpan()) (ReadOnlySpan octets) then
                    Some value
                else
                    None)

        let found =
            match found with
            | None -> Mismatch.Absent
            | Some "" -> "empty"
            | Some value -> Excerpt.ofText (QueryText.decode value)

        Mismatch.unless (matcher.Holds(query.AsSpan())) $"query {Excerpt.ofText matcher.Name}" matcher.Value found

[<RequireQualifiedAccess>]
module QueryMatcher =

    /// One entry of `query_matcher`. The error is the rule that the name breaks.
    let tryParse (name: string, value: string) : Result<QueryMatcher, string> =
        if name = "" then
            Error "the name of a query parameter, which is not empty"
        else
            Ok(QueryMatcher.Of(name, value))
