namespace Kedge.Client.Domain

/// A node of a parsed pattern. Patterns match hosts only: lower-case ASCII without line breaks.
type internal Node =
    | Nothing
    /// One character: of these ranges, or of none of them.
    | Chars of negated: bool * ranges: struct (char * char) list
    | AnyChar
    | Start
    | End
    | Boundary of negated: bool
    /// A named group, by its index.
    | Named of int * Node
    | Sequence of Node list
    | Choice of Node list
    /// `most` < 0 = no limit.
    | Repeat of node: Node * least: int * most: int * isLazy: bool

/// What is wrong with a pattern; `At` counts characters from 1.
type PatternFault = { At: int; Detail: string }

exception internal PatternError of PatternFault
