/// The laws of the core, on one given configuration.
module Kedge.PropertyTests.Tool.TableLaws

open System
open Kedge.Domain

/// The outcome of one law: how many cases were checked, and the first one that breaks it.
type Outcome =
    {
        Law: string
        Cases: int
        Broken: string option
    }

/// The files in all their shapes.
type Subject =
    {
        Configuration: Configuration
        Director: Decoded.Director
        Pool: Decoded.BackendPool
    }

/// Looks at the law case by case, up to the first that breaks it. `check` yields what is wrong.
let private law name (cases: 'case seq) (check: 'case -> string option) : Outcome =
    let mutable count = 0
    let mutable broken = None
    use each = cases.GetEnumerator()

    while broken.IsNone && each.MoveNext() do
        count <- count + 1
        broken <- check each.Current

    {
        Law = name
        Cases = count
        Broken = broken
    }

let private equal show expected found = if expected = found then None else Some(show expected found)

/// What the laws need of a protocol, so that each is written once.
type private Face<'route, 'request> =
    {
        Semantics: RouteSemantics<'route, 'request>
        Reference: 'route array -> 'request -> int option
        Around: Random -> 'route array -> 'request seq
    }

let private laws
    (configuration: Configuration)
    (face: Face<'route, 'request>)
    (routes: 'route array)
    (compiled: 'request -> int)
    (requests: 'request array)
    =
    let named text = $"{face.Semantics.Protocol.DisplayName}: {text}"
    let show request = RequestText.render (face.Semantics.Wrap request)
    let reference request = face.Reference routes request |> Option.defaultValue -1
    let reach = lazy Analysis.reach face.Semantics routes

    [
        law (named "the compiled table agrees with the reference router") requests (fun request ->
            equal
                (fun expected found -> $"{show request}: route {found}, not {expected}")
                (reference request)
                (compiled request))

        law
            (named "explain's winner is the router's, and every rule before it fails with a reason")
            requests
            (fun request ->
                let explanation =
                    (ExplainReport.Of(configuration, face.Semantics.Wrap request)).Explanation

                let winner = compiled request

                let explained =
                    match explanation.Verdict with
                    | RouteWins(route, _, _) -> route
                    | AdhocDecides _
                    | DefaultDecides _
                    | ParametersDecide _ -> -1

                let tried = if winner < 0 then routes.Length else winner

                if explained <> winner then
                    Some $"{show request}: explained as route {explained}, decided by {winner}"
                elif
                    explanation.Passed.Length <> tried
                    || explanation.Passed |> List.exists _.Mismatches.IsEmpty
                then
                    Some $"{show request}: not every rule before the winner has a reason"
                else
                    None)

        law (named "a route has no mismatch exactly when its table takes the request") requests (fun request ->
            // Of the routes before and after the winner, a few near it.
            let winner = reference request

            seq { max 0 (winner - 5) .. min (routes.Length - 1) (winner + 5) }
            |> Seq.tryFind (fun index ->
                (face.Semantics.Mismatches routes[index] request).IsEmpty
                <> (face.Semantics.Winner [| routes[index] |] request = 0))
            |> Option.map (fun index -> $"{show request}: route {index}"))

        law (named "a route that no request reaches is never chosen") requests (fun request ->
            match compiled request with
            | -1 -> None
            | winner ->
                match reach.Value[winner] with
                | Reached _
                | OnlyAsterisk _ -> None
                | ShadowedBy _
                | CoveredBy _
                | NeverHolds -> Some $"{show request}: goes to route {winner}, which is called unreachable")

        law (named "a witness goes where analysis says") (Seq.indexed reach.Value) (fun (index, reach) ->
            let wrong expected request =
                equal
                    (fun expected found -> $"{show request}: route {found}, not {expected}")
                    expected
                    (compiled request)

            match reach with
            | Reached witness
            | OnlyAsterisk(witness, _, _) -> wrong index witness
            | ShadowedBy(_, taken) when compiled taken >= index ->
                Some $"{show taken}: is said to be taken before route {index}"
            | CoveredBy taken -> taken |> List.tryPick (fun (earlier, request) -> wrong earlier request)
            | ShadowedBy _
            | NeverHolds -> None)

        law (named "a request written as a command line is read as itself") requests (fun request ->
            let method, url, headers, grpc, forward =
                RequestText.parts (face.Semantics.Wrap request)

            let outcome request =
                match (ExplainReport.Of(configuration, request)).Explanation.Verdict with
                | RouteWins(route, _, _) -> Choice1Of2 route
                | AdhocDecides(_, decision, _) -> Choice2Of2(Some decision)
                | DefaultDecides _
                | ParametersDecide _ -> Choice2Of2 None

            match RequestText.parseOn (face.Semantics.Wrap request).Listener (method, url, headers, grpc, forward) with
            | Error problem -> Some $"{show request}: {problem}"
            // A header makes it a gRPC call, which such a request is.
            | Ok again when again.IsGrpc <> (face.Semantics.Wrap request).IsGrpc -> None
            | Ok again ->
                let shown _ _ = $"{show request}: goes elsewhere when read again"
                equal shown (outcome (face.Semantics.Wrap request)) (outcome again))
    ]

let private side (configuration: Configuration) (random: Random) cases (face: Face<'route, 'request>) routes =
    if Array.isEmpty routes then
        // Laws about requests say nothing of an empty table.
        [], [||]
    else
        let compiled = face.Semantics.Winner routes
        let requests = face.Around random routes |> Seq.take cases |> Seq.toArray
        laws configuration face routes compiled requests, Array.map compiled requests

let private http =
    {
        Semantics = RouteSemantics.http
        Reference = Router.matchHttp
        Around = Around.http
    }

let private grpc =
    {
        Semantics = RouteSemantics.grpc
        Reference = Router.matchGrpc
        Around = Around.grpc
    }

let private files (subject: Subject) =
    [
        law "decode ∘ encode = id" [ 1; 2 ] (fun file ->
            let read decode encode name value =
                match decode name (ReadOnlyMemory(Text.Encoding.UTF8.GetBytes(encode value: string))) with
                | Error(error :: _) -> Some(ConfigError.describe error)
                | Error [] -> Some $"{name} cannot be read again"
                | Ok again -> equal (fun _ _ -> $"{name} is another when encoded and read again") value again

            if file = 1 then
                read ConfigFile.decodeDirector Encode.director "the director" subject.Director
            else
                read ConfigFile.decodeBackendPool Encode.backendPool "the backend pool" subject.Pool)

        law "a configuration has no difference from itself" [ subject.Configuration ] (fun configuration ->
            DiffReport.Differences(configuration, configuration)
            |> Seq.tryHead
            |> Option.map (fun difference -> $"{difference.Kind} {difference.Before} {difference.After}"))
    ]

/// All laws, and for each protocol the routes that its requests went to (-1 = none).
let check (subject: Subject) (seed: int) (cases: int) : Outcome list * Map<string, int array> =
    let configuration = subject.Configuration
    let random = Random seed

    let httpLaws, httpWinners =
        side configuration random cases http configuration.Director.HttpRoutes

    let grpcLaws, grpcWinners =
        side configuration random cases grpc configuration.Director.GrpcRoutes

    files subject @ httpLaws @ grpcLaws, Map [ "HTTP", httpWinners; "gRPC", grpcWinners ]
