namespace Kedge.Domain

open System.Collections.Generic

/// Finds routes whose rewrites lead two paths of callers to one path of a backend. Two requests prove each finding; the
/// absence of findings proves nothing.
[<RequireQualifiedAccess>]
module internal SamePaths =

    /// The most other routes that are tried for one route.
    [<Literal>]
    let private MostTries = 8

    /// Paths as the backend sees them. `Back` returns the caller's path that becomes such a path.
    [<NoEquality; NoComparison>]
    type private Forwarded =
        {
            Route: int
            Text: TextCondition
            Back: string -> string voption
        }

    let private textOf (condition: TextCondition) =
        match condition with
        | Exactly text
        | StartingWith text -> text

    let private forwarded
        (space: RequestSpace)
        (route: int)
        (conditions: RequestConditions)
        (rewrite: PathReplacement option)
        =
        [
            for text in conditions.Texts do
                match rewrite, text with
                | _, Exactly "*" -> ()
                | None, _ ->
                    {
                        Route = route
                        Text = text
                        Back = ValueSome
                    }
                | Some(WholePath full), _ ->
                    match space.Texts.Representatives text with
                    | first :: _ ->
                        {
                            Route = route
                            Text = Exactly full
                            Back = fun _ -> ValueSome first
                        }
                    | [] -> ()
                | Some rewrite, Exactly path ->
                    {
                        Route = route
                        Text = Exactly(rewrite.Of path)
                        Back = fun _ -> ValueSome path
                    }
                | Some rewrite, StartingWith beginning ->
                    {
                        Route = route
                        Text = StartingWith(rewrite.Of beginning)
                        Back = rewrite.Back
                    }
        ]

    /// The later route, the earlier one, and for each of the two a request that it takes. `isReached` says whether a
    /// request reaches a route.
    let find
        (routes: HttpRoute array)
        (conditions: RequestConditions array)
        (space: RequestSpace)
        (isReached: int -> bool)
        : (int * int * HttpRequest * HttpRequest) list =
        let winner = lazy (RouteSemantics.http.Winner routes)
        let rewriteOf route = routes[route].Outcome.Filters.Path

        /// A request for this path that the route takes.
        let taken route (path: string) =
            let atPath =
                { conditions[route] with
                    Texts = [ Exactly path ]
                }

            space.Representatives atPath
            |> Seq.map RouteSemantics.http.Request
            |> Seq.tryFind (fun request -> winner.Value request = route)

        let proof (one: Forwarded) (other: Forwarded) =
            let earlier, later = if one.Route < other.Route then one, other else other, one

            TextCondition.meet one.Text other.Text
            |> Option.bind (fun both -> space.Texts.Representatives both |> List.tryHead)
            |> Option.bind (fun path ->
                match later.Back path, earlier.Back path with
                | ValueSome mine, ValueSome theirs when mine <> theirs ->
                    match taken later.Route mine, taken earlier.Route theirs with
                    | Some request, Some earlierRequest when
                        (routes[later.Route].Outcome.Filters.Forth mine =
                            routes[earlier.Route].Outcome.Filters.Forth theirs)
                        ->
                        Some(later.Route, earlier.Route, request, earlierRequest)
                    | _ -> None
                | _ -> None)

        /// Groups of routes that forward to the same backend under the same host.
        let groups =
            [ 0 .. routes.Length - 1 ]
            |> List.filter (fun route -> not routes[route].Outcome.Action.Backends.IsEmpty)
            |> List.groupBy (fun route ->
                let filters = routes[route].Outcome.Filters

                let host =
                    if filters.Host = "" then
                        routes[route].Host.Text
                    else
                        filters.Host

                routes[route].Outcome.Action, host)
            |> List.map snd
            |> List.filter (fun group ->
                group.Length > 1 && group |> List.exists (fun route -> (rewriteOf route).IsSome))

        [
            for group in groups do
                let all =
                    [
                        for route in group do
                            if isReached route then
                                yield! forwarded space route conditions[route] (rewriteOf route)
                    ]

                let byText = Dictionary<string, List<Forwarded>>()

                for entry in all do
                    match byText.TryGetValue(textOf entry.Text) with
                    | true, list -> list.Add entry
                    | _ -> byText[textOf entry.Text] <- List [ entry ]

                // Two conditions share a text only if the text of one is a prefix of the other's.
                let found = Dictionary<int, int * int * HttpRequest * HttpRequest>()

                for entry in all do
                    let text = textOf entry.Text

                    seq {
                        for length in 1 .. text.Length do
                            match byText.TryGetValue(text.Substring(0, length)) with
                            | true, others -> yield! others
                            | _ -> ()
                    }
                    |> Seq.filter (fun other ->
                        other.Route <> entry.Route
                        && not (found.ContainsKey(max other.Route entry.Route))
                        && ((rewriteOf other.Route).IsSome || (rewriteOf entry.Route).IsSome))
                    |> Seq.truncate MostTries
                    |> Seq.tryPick (proof entry)
                    |> Option.iter (fun proven ->
                        let later, _, _, _ = proven
                        found[later] <- proven)

                for route in Seq.sort found.Keys do
                    found[route]
        ]
