namespace Kedge.Domain

open System
open System.Collections.Generic

/// The headers and the query parameters that the conditions of a table name: what a record of a request keeps in
/// addition to its method, host and path, so that the request can be explained later.
[<Sealed>]
type MatchedNames private (headers: string array, query: QueryMatcher array) =

    // The values of these headers are secrets, so they are never kept, even when a condition names the header.
    static let secret =
        HashSet<string>([ "authorization"; "proxy-authorization"; "cookie" ], StringComparer.OrdinalIgnoreCase)

    static member internal Of(http: HttpRoute array, grpc: GrpcRoute array) : MatchedNames =
        let headers =
            Seq.append (http |> Seq.collect _.Headers) (grpc |> Seq.collect _.Metadata)
            |> Seq.map _.Name
            |> Seq.filter (secret.Contains >> not)
            |> Seq.distinct

        let query = http |> Seq.collect _.Query |> Seq.distinctBy _.Name
        MatchedNames(Array.ofSeq headers, Array.ofSeq query)

    /// Whether a condition matches on the query.
    member _.HasQuery: bool = query.Length > 0

    /// The headers that conditions name, each once, without those that carry credentials.
    member _.Headers: IReadOnlyList<string> = headers

    /// The query parameters that conditions name, as sent and in the same order; empty when there are none.
    ///
    /// `sent` is a request's query, without the `?`.
    member _.QueryOf(sent: string) : string =
        if query.Length = 0 || sent = "" then
            ""
        else
            sent.Split('&', StringSplitOptions.RemoveEmptyEntries)
            |> Array.filter (fun parameter ->
                let name = parameter.Split('=')[0]

                query
                |> Array.exists (fun matcher -> QueryText.equals (name.AsSpan()) (ReadOnlySpan matcher.NameOctets)))
            |> String.concat "&"
