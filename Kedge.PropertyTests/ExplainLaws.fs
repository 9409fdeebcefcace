module Kedge.PropertyTests.ExplainLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.AnalysisGenerators

/// A request of the universe for each table, picked by its content so that a failure repeats.
let private requestsFor (universe: 'request array) (routes: 'route array) =
    let start = (hash routes &&& Int32.MaxValue) % universe.Length
    Seq.init 40 (fun i -> universe[(start + i * 577) % universe.Length])

let private held (headers: (string * string) list) (matcher: HeaderMatcher) =
    let headers = HeaderList headers
    matcher.Holds &headers

let private httpEvidence (route: HttpRoute) (request: HttpRequest) mismatch =
    match mismatch with
    | HostMismatch(expected, host) ->
        expected = route.Host
        && host = request.Host
        && not (expected.Holds(host.AsSpan()))
    | NoHost -> request.Host = ""
    | PortMismatch(expected, ports) -> expected = route.Port && ports = request.Ports && not (expected.Holds ports)
    | PathMismatch(rules, path) ->
        rules = route.Paths
        && path = request.Path
        && rules |> Array.forall (fun rule -> not (rule.Holds(path.AsSpan())))
    | ModeMismatch(expected, mode) ->
        expected = route.Mode
        && mode = request.Mode
        && expected <> mode
        && expected <> Decoded.ProxyMode.Any
    | HeaderMismatch(expected, values) ->
        Array.contains expected route.Headers
        && not (held request.Headers expected)
        && not (List.contains expected.Value values)
        && values =
            (request.Headers
             |> List.filter (fun (name, _) -> name = expected.Name)
             |> List.map snd)
    | ServiceMismatch _
    | DnsNameMismatch _ -> false

let private grpcEvidence (route: GrpcRoute) (request: GrpcRequest) mismatch =
    match mismatch with
    | HostMismatch(expected, host) ->
        expected = route.Host
        && host = request.Host
        && not (expected.Holds(host.AsSpan()))
    | PortMismatch(expected, ports) -> expected = route.Port && ports = request.Ports && not (expected.Holds ports)
    | ServiceMismatch(expected, method) ->
        expected = route.Service
        && method = request.Service + "/" + request.Method
        && not (expected.Holds(request.Service.AsSpan(), method.AsSpan()))
    | HeaderMismatch(expected, values) ->
        Array.contains expected route.Metadata
        && not (held request.Metadata expected)
        && not (List.contains expected.Value values)
    | _ -> false

let private laws
    (subject: Subject<'route, 'request>)
    (explain: 'route array -> 'request -> Explanation)
    (mismatches: 'route -> 'request -> Mismatch list)
    evidence
    =
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
                    | RouteWins(route, backend, known, authorization) ->
                        Expect.equal (Some route) (subject.Match routes request) ""
                        Expect.equal backend (subject.Protocol.Backend routes[route]) "backend"
                        Expect.equal known (backend = "one") "known"
                        Expect.equal authorization (subject.Protocol.Authorization routes[route]) "demands"
                    | AdhocDecides _ -> Expect.equal (subject.Match routes request) None "")

            law "every rule before the winner is passed, in order, for a reason" subject.Table 60 isMixed (fun routes ->
                for request in requestsFor subject.Universe routes do
                    let explanation = explain routes request

                    let tried = subject.Match routes request |> Option.defaultValue routes.Length

                    Expect.equal (explanation.Passed |> List.map _.Rule) [ 0 .. tried - 1 ] ""
                    Expect.all explanation.Passed (fun passed -> not passed.Mismatches.IsEmpty) "a reason")

            law "evidence is true: the named matcher fails on the named value" subject.Table 70 isMixed (fun routes ->
                for request in requestsFor subject.Universe routes do
                    for passed in (explain routes request).Passed do
                        for mismatch in passed.Mismatches do
                            if not (evidence routes[passed.Rule] request mismatch) then
                                failtest $"{mismatch}")

            law "a route has no mismatch exactly when it holds" subject.Table 70 isMixed (fun routes ->
                for request in requestsFor subject.Universe routes do
                    for route in routes do
                        Expect.equal (mismatches route request).IsEmpty (subject.Protocol.Holds route request) "")
        ]

let private roundTrip request =
    let method, url, headers, grpc, forward = RequestText.parts request
    RequestText.parse (method, url, headers, grpc, forward)

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

            testCase "what is no request is refused with a reason"
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
    testCase "without a route, the ad-hoc decision is told with the rules before it"
    <| fun () ->
        let rules = [| name (ExactName "z.example"); name (NameSuffix ".example") |]

        let request =
            { httpUniverse[0] with
                Host = "q.example"
            }

        let explanation = Explain.http [||] rules (fun _ -> true) request

        match explanation.Verdict with
        | AdhocDecides([ {
                             Rule = 0
                             Mismatches = [ DnsNameMismatch(expected, "q.example") ]
                         } ],
                       decision,
                       None) ->
            Expect.equal expected (ExactName "z.example") ""
            Expect.equal decision (Adhoc.decide rules request.Host request.Ports) ""
        | other -> failtest $"{other}"

[<Tests>]
let tests =
    testList
        "explain"
        [
            laws
                http
                (fun routes -> Explain.http routes [||] (fun backend -> backend = "one"))
                Explain.httpMismatches
                httpEvidence
            laws
                grpc
                (fun routes -> Explain.grpc routes [||] (fun backend -> backend = "one"))
                Explain.grpcMismatches
                grpcEvidence
            text
            adhoc
        ]
