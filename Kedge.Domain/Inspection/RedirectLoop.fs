namespace Kedge.Domain

open System
open System.Collections.Generic

/// Redirects that lead a caller around in circles: the finding `redirect-loop`. Each loop that is found is proven by a
/// request that follows it. More may exist: each request is followed for a limited number of steps.
[<AbstractClass; Sealed>]
type RedirectLoop private () =

    /// The most redirects that are followed for one request.
    static let maxSteps = 10

    /// The most requests of one route that are followed.
    static let maxStarts = 32

    /// The redirect of the request, with its route; -1 for the default of the plain-HTTP listener.
    static let redirectOf (routes: HttpRoute array) winner (plain: PlainDefault) (request: HttpRequest) =
        match winner request with
        | -1 when request.Listener = Decoded.Listener.Plain ->
            plain.Redirect |> Option.map (fun redirect -> -1, redirect)
        | -1 -> None
        | route ->
            match routes[route].Outcome.Action with
            | Redirects redirect -> Some(route, redirect)
            | _ -> None

    /// The request that a client sends to the URL. Browsers turn a POST into a GET after 301 and 302, too (RFC 9110,
    /// 15.4).
    static let next (request: HttpRequest) (status: int) (location: string) : HttpRequest option =
        let method =
            match status with
            | 307
            | 308 -> request.Method
            | _ when request.Method = "HEAD" || (status <> 303 && request.Method <> "POST") -> request.Method
            | _ -> "GET"

        let listener =
            if location.StartsWith("http://", StringComparison.Ordinal) then
                Decoded.Listener.Plain
            else
                Decoded.Listener.Tls

        match RequestText.parseOn listener (method, location, [], false, false) with
        | Ok(Http next) -> Some { next with Headers = request.Headers }
        | _ -> None

    /// The requests of a loop that this one runs into, each with the route that redirects it and the response; None
    /// when the redirects end, or take too many steps.
    static let follow redirectOf (start: HttpRequest) =
        let rec step (walked: (HttpRequest * int * string) list) (request: HttpRequest) =
            match walked |> List.tryFindIndex (fun (earlier, _, _) -> earlier = request) with
            | Some index -> Some(List.rev (List.truncate (index + 1) walked))
            | None when walked.Length >= maxSteps -> None
            | None ->
                match redirectOf request with
                | None -> None
                | Some(route, redirect: Redirect) ->
                    let location = HttpRequest.location redirect request
                    let walked = (request, route, $"{redirect.Status} {location}") :: walked
                    next request redirect.Status location |> Option.bind (step walked)

        step [] start

    /// One error for each set of routes that form a loop, at the first of them. `plain` is the default of the
    /// plain-HTTP listener; `AnswerNoRoute` when there is none.
    static member Findings(configuration: Configuration, plain: PlainDefault) : IReadOnlyList<Finding> =
        let routes = configuration.Director.HttpRoutes

        if routes |> Array.forall (fun route -> not route.Outcome.Action.IsRedirects) then
            [||]
        else
            let semantics = RouteSemantics.http
            let list = CheckedList.Routes(configuration, Protocol.Http)
            let conditions = routes |> Array.map semantics.Conditions
            let space = RouteSemantics.space semantics conditions
            let winner = semantics.Winner routes
            let redirectOf = redirectOf routes winner plain
            let known = HashSet<int list>()

            [|
                for route in 0 .. routes.Length - 1 do
                    if routes[route].Outcome.Action.IsRedirects then
                        let loops =
                            space.Representatives conditions[route]
                            |> Seq.filter (fun point -> point.Mode = Decoded.ProxyMode.ReverseProxy)
                            |> Seq.map semantics.Request
                            |> Seq.filter (fun request -> winner request = route)
                            |> Seq.truncate maxStarts
                            |> Seq.choose (follow redirectOf)

                        match Seq.tryHead loops with
                        | None -> ()
                        | Some loop ->
                            let members =
                                loop |> List.map (fun (_, route, _) -> route) |> List.distinct |> List.sort

                            if known.Add members then
                                let start, _, _ = loop.Head
                                let place = members |> List.find (fun route -> route >= 0)
                                let witness = RequestText.render (Http start)

                                let chain =
                                    loop |> List.map (fun (_, _, answer) -> answer) |> String.concat ", then "

                                let message = $"whoever follows it comes back to the same request: {chain}"
                                list.Finding(Severity.Error, "redirect-loop", place, [], message, [ witness ])
            |]
