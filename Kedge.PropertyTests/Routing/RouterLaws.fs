module Kedge.PropertyTests.RouterLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.Domain

type private ProxyMode = Kedge.Domain.Decoded.ProxyMode

let private spoken index = if index < 0 then "no route" else $"route %d{index}"

let private expectAgreement table router =
    if table <> router then
        failtestf "the table says %s, the reference router %s" (spoken table) (spoken router)

let private matchHttp (table: HttpRouteTable) (request: HttpRequest) =
    let headers = HeaderList request.Headers

    table.Match(
        request.Method.AsSpan(),
        request.Host.AsSpan(),
        request.Ports,
        request.Path.AsSpan(),
        request.Query.AsSpan(),
        request.Mode,
        request.Listener,
        &headers
    )

let private matchGrpc (table: GrpcRouteTable) (request: GrpcRequest) =
    let metadata = HeaderList request.Metadata
    let fullMethod = request.Service + "/" + request.Method

    table.Match(
        request.Host.AsSpan(),
        request.Ports,
        request.Service.AsSpan(),
        fullMethod.AsSpan(),
        request.Listener,
        &metadata
    )

let private tallyOutcome (seen: Seen) routes expected =
    match expected with
    | None -> seen.Count(if List.isEmpty routes then "empty table" else "no match")
    | Some index ->
        seen.Count "match"
        seen.When("match behind the first route", (index > 0))

let private enoughOfEach =
    [
        "match", 4000
        "match behind the first route", 2000
        "no match", 2000
        "empty table", 50
        "an earlier route failed by one condition", 1000
    ]

/// A view of headers that allocates nothing, like the server's.
[<Struct>]
type private NoHeaders =
    interface IHeaders with
        member _.Has(_, _) = false
        member _.HasPrefix(_, _) = false

[<Struct>]
type private OneHeader(name: string, value: string) =
    interface IHeaders with
        member _.Has(n, v) = String.Equals(n, name, StringComparison.OrdinalIgnoreCase) && v = value

        member _.HasPrefix(n, prefix) =
            String.Equals(n, name, StringComparison.OrdinalIgnoreCase)
            && value.StartsWith(prefix, StringComparison.Ordinal)

let private expectNoAllocation (action: unit -> int) =
    let mutable sum = 0

    for _ in 1..200 do
        sum <- sum + action ()

    let before = GC.GetAllocatedBytesForCurrentThread()

    for _ in 1..1000 do
        sum <- sum + action ()

    let allocated = GC.GetAllocatedBytesForCurrentThread() - before
    Expect.equal allocated 0L "bytes allocated by 1000 matches"
    Expect.isGreaterThan sum 0 "something matched"

let private httpRoute host port path headers : HttpRoute =
    { HttpRoute.ToBackend "backend" with
        Host = host
        Port = port
        Paths = path
        Headers = headers
    }

let private grpcRoute host service : GrpcRoute =
    { GrpcRoute.ToBackend "backend" with
        Service = service
        Host = host
    }

/// Cases whose paths have parameters, some of them as segments of their own.
let private casesWithParameters =
    gen {
        let! case = RouterCases.httpCases

        let! written =
            case.Request.Path.Split '/'
            |> List.ofArray
            |> List.mapi (fun index segment ->
                Gen.elements [ ""; ""; ";"; ";v=1"; ";/"; "/;x"; "%3B"; "%3bv=1"; ";a;b" ]
                |> Gen.map (fun added -> if index = 0 then segment else segment + added))
            |> Gen.sequenceToList

        return
            match RequestPath.canonicalise (String.Join('/', written)) with
            | Ok path ->
                { case with
                    Request = { case.Request with Path = path }
                }
            | _ ->
                { case with
                    Request = { case.Request with Path = "/;/" }
                }
    }
    |> Arb.fromGen

/// What backends may make of a canonical path: each removes the parameters of some segments, or of all.
let private readings (path: string) : string list =
    let bare (segment: string) =
        let at =
            [ segment.IndexOf ';'; segment.IndexOf "%3B" ]
            |> List.filter (fun at -> at >= 0)

        if at.IsEmpty then
            segment
        else
            segment.Substring(0, List.min at)

    let each =
        (path.Split '/', [ [] ])
        ||> Array.foldBack (fun segment rests ->
            [
                for rest in rests do
                    segment :: rest

                    if bare segment <> segment then
                        bare segment :: rest
            ])

    each
    |> List.map (fun segments ->
        match RequestPath.canonicalise (String.Join('/', segments)) with
        | Ok reading -> reading
        | Error problem -> failtestf "a reading of %s: %s" path problem)

[<Tests>]
let tests =
    testList
        "router"
        [
            Law.test
                "a request with path parameters is taken by one route in every reading, or rejected"
                5_000
                [ "taken", 500; "taken by none", 100; "rejected", 300; "several readings", 500 ]
                casesWithParameters
                (fun seen case ->
                    let routes = Array.ofList case.Routes
                    let request = case.Request
                    let table = HttpRouteTable routes
                    let headers = HeaderList request.Headers
                    let mutable route = 0

                    let isClear =
                        table.TryMatch(
                            request.Method.AsSpan(),
                            request.Host.AsSpan(),
                            request.Ports,
                            request.Path,
                            request.Query.AsSpan(),
                            request.Mode,
                            request.Listener,
                            &headers,
                            &route
                        )

                    Expect.equal isClear (Router.parametersDecide routes request).IsNone "as the reference router"

                    if not isClear then
                        seen.Count "rejected"
                    elif RequestPath.hasParameters (request.Path.AsSpan()) then
                        seen.Count(if route < 0 then "taken by none" else "taken")
                        let all = readings request.Path
                        seen.When("several readings", all.Length > 2)

                        for reading in all do
                            expectAgreement (matchHttp table { request with Path = reading }) route)

            Law.test
                "compiled HTTP table agrees with the reference router"
                10_000
                (enoughOfEach
                 @ [
                     "match with a trailing dot", 150
                     "match in another case", 400
                     "match by wildcard", 200
                     "match by method", 300
                     "match by query", 150
                     "match by the start or presence of a header", 300
                 ])
                RouterShrinking.httpCase
                (fun seen case ->
                    let routes = Array.ofList case.Routes
                    let expected = Router.matchHttp routes case.Request
                    let actual = matchHttp (HttpRouteTable routes) case.Request

                    tallyOutcome seen case.Routes expected

                    let nearMiss =
                        case.Routes
                        |> List.truncate (defaultArg expected routes.Length)
                        |> List.exists (fun route ->
                            Router.httpRouteHolds { route with Host = AnyHost } case.Request
                            || Router.httpRouteHolds { route with Port = AnyPort } case.Request
                            || Router.httpRouteHolds { route with Paths = [||] } case.Request
                            || Router.httpRouteHolds { route with Headers = [||] } case.Request
                            || Router.httpRouteHolds { route with Methods = [||] } case.Request
                            || Router.httpRouteHolds { route with Query = [||] } case.Request
                            || Router.httpRouteHolds { route with Mode = ProxyMode.Any } case.Request)

                    seen.When("an earlier route failed by one condition", nearMiss)

                    expected
                    |> Option.iter (fun index ->
                        let route = routes[index]
                        seen.When("match by wildcard", route.Host.IsHostBelow)
                        seen.When("match by method", route.Methods.Length > 0)
                        seen.When("match by query", route.Query.Length > 0)

                        seen.When(
                            "match by the start or presence of a header",
                            (route.Headers |> Array.exists (fun matcher -> not matcher.Condition.IsIs))
                        ))

                    seen.When("match with a trailing dot", (expected.IsSome && case.Request.Host.EndsWith '.'))

                    seen.When(
                        "match in another case",
                        (expected.IsSome && Seq.exists Char.IsAsciiLetterUpper case.Request.Host)
                    )

                    expectAgreement actual (defaultArg expected -1))

            Law.test
                "compiled gRPC table agrees with the reference router"
                10_000
                (enoughOfEach @ [ "match without a host", 20 ])
                RouterShrinking.grpcCase
                (fun seen case ->
                    let routes = Array.ofList case.Routes
                    let expected = Router.matchGrpc routes case.Request
                    let actual = matchGrpc (GrpcRouteTable routes) case.Request

                    tallyOutcome seen case.Routes expected

                    let nearMiss =
                        case.Routes
                        |> List.truncate (defaultArg expected routes.Length)
                        |> List.exists (fun route ->
                            Router.grpcRouteHolds { route with Host = AnyHost } case.Request
                            || Router.grpcRouteHolds { route with Port = AnyPort } case.Request
                            || Router.grpcRouteHolds { route with Service = AnyService } case.Request
                            || Router.grpcRouteHolds { route with Metadata = [||] } case.Request)

                    seen.When("an earlier route failed by one condition", nearMiss)
                    seen.When("match without a host", (expected.IsSome && case.Request.Host = ""))

                    expectAgreement actual (defaultArg expected -1))

            testCase "matching HTTP requests allocates nothing"
            <| fun () ->
                let table =
                    HttpRouteTable
                        [|
                            for n in 0..999 do
                                httpRoute
                                    (ExactHost $"host%d{n}.example")
                                    (ExactPort 443us)
                                    [| PathPrefix "/api/"; ExactPath "/" |]
                                    [|
                                        {
                                            Name = "x-env"
                                            Condition = Decoded.HeaderCondition.Is "prod"
                                        }
                                    |]

                            for n in 0..999 do
                                { httpRoute
                                      (HostBelow $"wild%d{n}.example")
                                      AnyPort
                                      [| PathTree "/api" |]
                                      [|
                                          {
                                              Name = "x-env"
                                              Condition = Decoded.HeaderCondition.StartsWith "pr"
                                          }
                                          {
                                              Name = "x-env"
                                              Condition = Decoded.HeaderCondition.Present
                                          }
                                      |] with
                                    Methods = [| "POST"; "PUT" |]
                                    Query = [| QueryMatcher.Of("a b", "ü") |]
                                }

                            httpRoute AnyHost AnyPort [||] [||]
                        |]

                let headers = OneHeader("X-Env", "prod")
                let none = NoHeaders()

                expectNoAllocation (fun () ->
                    table.Match(
                        "GET".AsSpan(),
                        "HOST500.example.".AsSpan(),
                        AuthorityPorts.Unspecified,
                        "/api/x".AsSpan(),
                        ReadOnlySpan.Empty,
                        ProxyMode.ReverseProxy,
                        Decoded.Listener.Tls,
                        &headers
                    )
                    + table.Match(
                        "PUT".AsSpan(),
                        "a.b.WILD500.example.".AsSpan(),
                        AuthorityPorts.Unspecified,
                        "/api/x".AsSpan(),
                        "x=1&a+b=%C3%bc".AsSpan(),
                        ProxyMode.ReverseProxy,
                        Decoded.Listener.Tls,
                        &headers
                    )
                    + table.Match(
                        "GET".AsSpan(),
                        "host500.example".AsSpan(),
                        AuthorityPorts.Of 8080us,
                        "/api/x".AsSpan(),
                        ReadOnlySpan.Empty,
                        ProxyMode.ReverseProxy,
                        Decoded.Listener.Tls,
                        &none
                    ))

            testCase "matching gRPC calls allocates nothing"
            <| fun () ->
                let table =
                    GrpcRouteTable
                        [|
                            for n in 0..999 do
                                grpcRoute AnyHost (ExactService $"package.Service%d{n}")

                            grpcRoute (ExactHost "a.example") (MethodPrefix "other.Service/Get")
                        |]

                let none = NoHeaders()

                expectNoAllocation (fun () ->
                    table.Match(
                        "a.example".AsSpan(),
                        AuthorityPorts.Unspecified,
                        "other.Service".AsSpan(),
                        "other.Service/GetAll".AsSpan(),
                        Decoded.Listener.Tls,
                        &none
                    )
                    + table.Match(
                        ReadOnlySpan.Empty,
                        AuthorityPorts.Unspecified,
                        "package.Service500".AsSpan(),
                        "package.Service500/Get".AsSpan(),
                        Decoded.Listener.Tls,
                        &none
                    ))
        ]
