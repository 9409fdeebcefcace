namespace Kedge.Domain

open System

/// The gRPC methods that a route matches. The path of a call is `/package.Service/Method`.
[<Struct>]
type ServiceMatcher =
    | AnyService
    /// `package.Service`
    | ExactService of service: string
    /// The text before the trailing `*`; compared with `package.Service`.
    | ServicePrefix of servicePrefix: string
    /// `package.Service/Method`
    | ExactMethod of method: string
    /// The text before the trailing `*`, with a `/` in it; compared with `package.Service/Method`.
    | MethodPrefix of methodPrefix: string

    /// `service` is `package.Service`, `fullMethod` is `package.Service/Method`. Case-sensitive. Never allocates.
    member matcher.Holds(service: ReadOnlySpan<char>, fullMethod: ReadOnlySpan<char>) : bool =
        match matcher with
        | AnyService -> true
        | ExactService expected -> service.SequenceEqual(expected.AsSpan())
        | ServicePrefix prefix -> service.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)
        | ExactMethod expected -> fullMethod.SequenceEqual(expected.AsSpan())
        | MethodPrefix prefix -> fullMethod.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)

    member matcher.Text =
        match matcher with
        | AnyService -> "any"
        | ExactService name
        | ExactMethod name -> name
        | ServicePrefix prefix
        | MethodPrefix prefix -> prefix + "*"

    /// Why the method does not match; none when it does.
    member matcher.Mismatch(service: string, method: string) : Mismatch voption =
        let fullMethod = service + "/" + method
        Mismatch.unless (matcher.Holds(service.AsSpan(), fullMethod.AsSpan())) "method" matcher.Text fullMethod

[<RequireQualifiedAccess>]
module ServiceMatcher =

    let private rule =
        "`package.Service` or `package.Service/Method`, either with a trailing `*`, or `*` or empty for any"

    /// Reads `service_name_matcher`; empty or `*` = any. The error is the rule that the text breaks.
    let tryParse (text: string) : Result<ServiceMatcher, string> =
        let isPrefix = text.EndsWith '*'

        let name =
            if isPrefix then
                text.Substring(0, text.Length - 1)
            else
                text

        let slash = name.IndexOf '/'

        if name = "" then
            Ok AnyService
        elif name |> Seq.exists (fun c -> c <= ' ' || c > '~' || c = '*') then
            Error rule
        elif slash < 0 then
            Ok(if isPrefix then ServicePrefix name else ExactService name)
        elif
            slash = 0
            || slash <> name.LastIndexOf '/'
            || (slash = name.Length - 1 && not isPrefix)
        then
            Error rule
        else
            Ok(if isPrefix then MethodPrefix name else ExactMethod name)
