namespace Kedge.Domain

open System
open System.Buffers

/// The names of methods and header fields.
[<RequireQualifiedAccess>]
module HttpToken =

    let private characters =
        SearchValues.Create "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    /// Whether the text is a token (RFC 9110, 5.6.2): one or more letters, digits or ``!#$%&'*+-.^_`|~``. Never
    /// allocates.
    [<CompiledName "IsToken">]
    let isToken (text: ReadOnlySpan<char>) : bool = text.Length > 0 && not (text.ContainsAnyExcept characters)
