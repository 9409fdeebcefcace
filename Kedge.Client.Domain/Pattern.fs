namespace Kedge.Client.Domain

open System.Text.RegularExpressions

/// A pattern in RE2's syntax, ready to match. Matching takes time proportional to the text, whatever the pattern is.
[<Sealed>]
type Pattern private (text: string, root: Node, names: string list) =

    let groups = names |> List.mapi (fun i name -> name, $"g{i}") |> dict

    let regex =
        Regex(
            PatternDialect.render (fun i -> $"(?<g{i}>") @"\z" root,
            RegexOptions.NonBacktracking ||| RegexOptions.CultureInvariant
        )

    let rec begins (node: Node) =
        match node with
        | Start -> true
        | Sequence(first :: _)
        | Named(_, first) -> begins first
        | Choice branches -> branches |> List.forall begins
        | _ -> false

    let rec ends (node: Node) =
        match node with
        | End -> true
        | Sequence items -> not items.IsEmpty && ends (List.last items)
        | Named(_, inner) -> ends inner
        | Choice branches -> branches |> List.forall ends
        | _ -> false

    /// As it was written.
    member _.Text = text

    /// The names of its groups, in order.
    member _.Groups = names

    /// Whether it matches only from the beginning of a text (`^`).
    member _.IsAnchoredAtStart = begins root

    /// Whether it matches only up to the end of a text (`$`).
    member _.IsAnchoredAtEnd = ends root

    member _.IsMatch(input: string) : bool = regex.IsMatch input

    /// The value of each group; none when the pattern does not match. A group that did not participate has an empty
    /// value.
    member _.TryMatch(input: string) : (string -> string) voption =
        let found = regex.Match input

        if found.Success then
            ValueSome(fun name -> found.Groups[groups[name]].Value)
        else
            ValueNone

    /// The source text of a JavaScript regular expression that matches the same hosts.
    member _.JavaScript: string = PatternDialect.render (fun _ -> "(?:") "$" root

    override _.ToString() = text

    /// Longer patterns are rejected.
    static member MaxLength = 4096

    /// Never throws.
    static member Parse(text: string) : Result<Pattern, PatternFault> =
        if text.Length > Pattern.MaxLength then
            Error
                {
                    At = Pattern.MaxLength
                    Detail = $"the pattern is longer than {Pattern.MaxLength} characters"
                }
        else
            try
                let struct (root, names) = PatternParser(text).Parse()
                Ok(Pattern(text, root, names))
            with PatternError fault ->
                Error fault
