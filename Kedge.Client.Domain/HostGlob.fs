namespace Kedge.Client.Domain

open System

/// A host pattern of the shell's kind, as `shExpMatch` of proxy auto-configuration has it: `*` is any text, `?` one
/// character, everything else itself. Letters count without their case.
[<RequireQualifiedAccess>]
module HostGlob =

    /// Takes time in proportion to the product of both lengths at most.
    [<CompiledName "IsMatch">]
    let isMatch (pattern: string) (text: string) : bool =
        let pattern, text = pattern.ToLowerInvariant(), text.ToLowerInvariant()
        let mutable p = 0
        let mutable t = 0
        // Where to continue when what follows the last star does not fit: with one more character for the star.
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
