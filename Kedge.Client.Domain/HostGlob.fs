namespace Kedge.Client.Domain

open System

/// A shell-style host pattern, as in `shExpMatch` of proxy auto-configuration: `*` matches any text, `?` one character,
/// everything else itself. The case of letters is ignored.
[<RequireQualifiedAccess>]
module HostGlob =

    /// Takes at most time proportional to the product of both lengths.
    [<CompiledName "IsMatch">]
    let isMatch (pattern: string) (text: string) : bool =
        let pattern, text = pattern.ToLowerInvariant(), text.ToLowerInvariant()
        let mutable p = 0
        let mutable t = 0
        // Where to continue when the text after the last star does not match: with one more character for the star.
        let mutable star = -1
        let mutable taken = 0
        let mutable fits = true

        while fits && t < text.Length do
            if p < pattern.Length && pattern[p] = '*' then
                star <- p
                taken <- t
                p <- p + 1
            elif p < pattern.Length && (pattern[p] = '?' || pattern[p] = text[t]) then
                p <- p + 1
                t <- t + 1
            elif star >= 0 then
                taken <- taken + 1
                p <- star + 1
                t <- taken
            else
                fits <- false

        fits && pattern.AsSpan(p).TrimStart('*').IsEmpty
