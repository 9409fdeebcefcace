module Kedge.PropertyTests.ExplainLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.TableGenerators

/// A request of the universe for each table, picked by its content so that a failure repeats.
let private requestsFor (universe: 'request array) (routes: 'route array) =
    let start = (hash routes &&& Int32.MaxValue) % universe.Length
    Seq.init 40 (fun i -> universe[(start + i * 577) % universe.Length])

/// The headers that fail, each with the wanted value and the values that are there.
let private failedHeaders (matchers: HeaderMatcher array) (headers: (string * string) list) =
    [
        for matcher in matchers do
            let values =
                headers |> List.filter (fun (name, _) -> name = matcher.Name) |> List.map snd

            let expected, isTaken =
                match matcher.Condition with
                | Decoded.HeaderCondition.Is value -> value, List.contains value values
                | Decoded.HeaderCondition.StartsWith prefix ->
                    prefix + "*",
                    values
                    |> List.exists (fun value -> value.StartsWith(prefix, StringComparison.Ordinal))
                | Decoded.HeaderCondition.Present -> "", not values.IsEmpty

            if not isTaken then
                let found =
                    if values.IsEmpty then
                        "absent"
                    else
                        String.Join(", ", values)

                $"header {matcher.Name}", expected, found
    ]

let private failedHost (matcher: HostMatcher) (host: string) =
    match matcher with
    | ExactHost expected when expected <> host -> [ "host", expected, host ]
    | HostBelow parent when not (host.EndsWith("." + parent, StringComparison.Ordinal)) ->
        [ "host", "*." + parent, host ]
    | _ -> []

let private failedPort (matcher: PortMatcher) (ports: AuthorityPorts) =
    match matcher with
    | ExactPort port when port <> ports.First && port <> ports.Second ->
        [
            "port",
            string port,
            (if ports = AuthorityPorts.Unspecified then
                 "80 or 443 (none given)"
             else
                 string ports.First)
        ]
    | _ -> []

/// Told from the conditions themselves, for requests and tables of the universe.
let private failedListener (expected: Decoded.Listener) (listener: Decoded.Listener) =
    let text (listener: Decoded.Listener) = (string listener).ToLowerInvariant()

    [
        if expected <> Decoded.Listener.Any && expected <> listener then
            "listener", text expected, text listener
    ]

let private httpFailures (route: HttpRoute) (request: HttpRequest) =
    let text rule =
        match rule with
        | ExactPath path -> path
        | PathTree root -> root + "/**"
        | PathPrefix prefix -> prefix + "*"

    let isTaken rule =
        match rule with
        | ExactPath path -> request.Path = path
        | PathTree root ->
            request.Path = root
            || request.Path.StartsWith(root + "/", StringComparison.Ordinal)
        | PathPrefix prefix -> request.Path.StartsWith(prefix, StringComparison.Ordinal)

    let mode (mode: Decoded.ProxyMode) =
        if mode = Decoded.ProxyMode.ForwardProxy then
            "forward"
        else
            "reverse"

    [
        yield! failedHost route.Host request.Host
        yield! failedPort route.Port request.Ports

        if route.Methods.Length > 0 && not (Array.contains request.Method route.Methods) then
            "method", String.Join(" or ", route.Methods), request.Method

        if route.Paths.Length > 0 && not (Array.exists isTaken route.Paths) then
            "path", String.Join(" or ", Array.map text route.Paths), request.Path

        for matcher in route.Query do
            let found = Uri.UnescapeDataString(request.Query.Replace(matcher.Name + "=", ""))

            if found <> matcher.Value then
                $"query {matcher.Name}", matcher.Value, (if found = "" then "absent" else found)

        if route.Mode <> Decoded.ProxyMode.Any && route.Mode <> request.Mode then
            "mode", mode route.Mode, mode request.Mode

        yield! failedListener route.Listener request.Listener

        yield! failedHeaders route.Headers request.Headers
    ]

let private grpcFailures (route: GrpcRoute) (request: GrpcRequest) =
    let method = request.Service + "/" + request.Method

    let isTaken, text =
        match route.Service with
        | AnyService -> true, "any"
        | ExactService service -> request.Service = service, service
        | ServicePrefix prefix -> request.Service.StartsWith(prefix, StringComparison.Ordinal), prefix + "*"
        | ExactMethod expected -> method = expected, expected
        | MethodPrefix prefix -> method.StartsWith(prefix, StringComparison.Ordinal), prefix + "*"

    [
        yield! failedHost route.Host request.Host
        yield! failedPort route.Port request.Ports

        if not isTaken then
            "method", text, method

        yield! failedHeaders route.Metadata request.Metadata
        yield! failedListener route.Listener request.Listener
    ]

let private laws
    (subject: Subject<'route, 'request>)
    (failures: 'route -> 'request -> (string * string * string) list)
    =
    let explain routes request =
        Explain.request subject.Semantics routes [||] (fun backend -> backend = "one") AnswerNoRoute request

    let isMixed routes =
        requestsFor subject.Universe routes
        |> Seq.exists (fun request ->
            match subject.Match routes request with
            | Some winner -> winner > 0
            | None -> false)

    testList
        subject.Name
        [
            law "explain's winner is the router's" subject.Table 70 isMixed (fun routes ->
                for request in requestsFor subject.Universe routes do
                    match (explain routes request).Verdict with
                    | RouteWins(route, outcome, known) ->
                        Expect.equal (Some route) (subject.Match routes request) ""
                        Expect.equal outcome (subject.Semantics.Outcome routes[route]) "outcome"
                        Expect.equal known (outcome.Action.Backends |> List.forall ((=) "one")) "known"
                    | AdhocDecides _
                    | DefaultDecides _ -> Expect.equal (subject.Match routes request) None ""
                    | ParametersDecide _ -> failtest "no path of these has parameters")

            law
                "every rule before the winner is passed, in order, with a reason"
                subject.Table
                60
                isMixed
                (fun routes ->
                    for request in requestsFor subject.Universe routes do
                        let explanation = explain routes request

                        let tried = subject.Match routes request |> Option.defaultValue routes.Length

                        Expect.equal (explanation.Passed |> List.map _.Rule) [ 0 .. tried - 1 ] ""
                        Expect.all explanation.Passed (fun passed -> not passed.Mismatches.IsEmpty) "a reason")

            law
                "a route's mismatches are the conditions that fail, each with what is expected and what was found"
                subject.Table
                70
                isMixed
                (fun routes ->
                    for request in requestsFor subject.Universe routes do
                        for route in routes do
                            let mismatches =
                                subject.Semantics.Mismatches route request
                                |> List.map (fun m -> m.Subject, m.Expected, m.Found)

                            Expect.equal mismatches (failures route request) "")

            law
                "a route has no mismatch exactly when its table takes the request"
                subject.Table
                70
                isMixed
                (fun routes ->
                    for request in requestsFor subject.Universe routes do
                        for route in routes do
                            Expect.equal
                                (subject.Semantics.Mismatches route request).IsEmpty
                                (subject.Semantics.Winner [| route |] request = 0)
                                "")
        ]

let private roundTrip (request: Request) =
    let method, url, headers, grpc, forward = RequestText.parts request
    RequestText.parseOn request.Listener (method, url, headers, grpc, forward)

let private text =
    testList
        "request text"
        [
            testCase "a request that is written as a command line is read as itself"
            <| fun () ->
                for request in httpUniverse do
                    Expect.equal (roundTrip (Http request)) (Ok(Http request)) ""

                for request in grpcUniverse do
                    Expect.equal (roundTrip (Grpc request)) (Ok(Grpc request)) ""

                let v6 =
                    Http
                        { httpUniverse[0] with
                            Host = "2001:db8::1"
                        }

                Expect.equal (roundTrip v6) (Ok v6) "brackets"

            testCase "the port of a forward-proxy request is its scheme's"
            <| fun () ->
                let ports url forward =
                    match RequestText.parse ("GET", url, [], false, forward) with
                    | Ok(Http request) -> request.Ports
                    | other -> failtest $"{other}"

                Expect.equal (ports "http://a.example/" true) (AuthorityPorts.Of 80us) ""
                Expect.equal (ports "https://a.example/" true) (AuthorityPorts.Of 443us) ""
                Expect.equal (ports "http://a.example/" false) AuthorityPorts.Unspecified ""
                Expect.equal (ports "https://A.Example:81/x?q#f" false) (AuthorityPorts.Of 81us) ""

            testCase "a gRPC content type makes a gRPC call, gRPC-Web does not"
            <| fun () ->
                let parse contentType =
                    RequestText.parse (
                        "POST",
                        "https://a.example/p.S/M",
                        [ "Content-Type: " + contentType ],
                        false,
                        false
                    )

                Expect.isTrue (parse "application/grpc+proto" |> Result.exists _.IsGrpc) ""
                Expect.isTrue (parse "application/grpc-web+proto" |> Result.exists _.IsHttp) ""

            testCase "what is not a request is rejected with a reason"
            <| fun () ->
                for method, url, headers, grpc, forward in
                    [
                        "GE T", "https://a.example/", [], false, false
                        "GET", "ftp://a.example/", [], false, false
                        "GET", "a.example", [], false, false
                        "GET", "https:///x", [], false, false
                        "GET", "https://a.example:0/", [], false, false
                        "GET", "https://a.example/%zz", [], false, false
                        "GET", "https://a.example/", [ "no colon" ], false, false
                        "POST", "https://a.example/onlyservice", [], true, false
                        "POST", "https://a.example/p.S/M", [], true, true
                    ] do
                    match RequestText.parse (method, url, headers, grpc, forward) with
                    | Error reason -> Expect.isNotEmpty reason ""
                    | Ok request -> failtest $"{method} {url} was read as {request}"
        ]

let private name suffix : AdhocRule =
    {
        Name = suffix
        DefaultPort = 0us
        AllowedPorts = [| 80us |]
        AllowedRanges = [||]
        Replace = None
        Authorization = None
    }

let private adhoc =
    testCase "without a route, the ad-hoc decision is explained with the rules before it"
    <| fun () ->
        let rules = [| name (ExactName "z.example"); name (NameSuffix ".example") |]

        let request =
            { httpUniverse[0] with
                Host = "q.example"
            }

        let explanation =
            Explain.request RouteSemantics.http [||] rules (fun _ -> true) AnswerNoRoute request

        match explanation.Verdict with
        | AdhocDecides([ { Rule = 0; Mismatches = [ mismatch ] } ], decision, None) ->
            Expect.equal mismatch.Text "name is q.example, not z.example" ""
            Expect.equal decision (Adhoc.decide rules request.Host request.Ports) ""
        | other -> failtest $"{other}"

[<Tests>]
let tests =
    testList
        "explain"
        [
            laws http httpFailures
            laws conditions httpFailures
            laws grpc grpcFailures
            text
            adhoc
        ]
