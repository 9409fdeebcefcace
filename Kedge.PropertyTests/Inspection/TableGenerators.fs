/// Tables from domains so small that routes shadow each other often, and every request of a universe that distinguishes
/// any two such tables. The hosts, ports and texts that analysis would pick first as ones that no route names are among
/// those that routes do name.
module Kedge.PropertyTests.TableGenerators

open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain

/// A law over tables, or what else is an array that shrinks element by element. At least so many of 200 must be
/// `interesting`.
let law name (gen: Gen<'value array>) (atLeast: int) (interesting: 'value array -> bool) (check: 'value array -> unit) =
    let shrink (value: 'value array) = Seq.init value.Length (fun at -> Array.removeAt at value)

    Law.test name 200 [ "interesting", atLeast ] (Arb.fromGenShrink (gen, shrink)) (fun seen value ->
        seen.When("interesting", interesting value)
        check value)

/// Fails when the work takes more of the processor than the seconds given. In a sequenced test, so that no other test's
/// work counts; the clock on the wall says little on a busy machine.
let withinProcessorTime (seconds: float) (work: unit -> 'result) : 'result =
    use self = System.Diagnostics.Process.GetCurrentProcess()
    let start = self.TotalProcessorTime
    let result = work ()
    self.Refresh()
    let taken = self.TotalProcessorTime - start
    Expect.isLessThan taken (System.TimeSpan.FromSeconds seconds) "it must not be quadratic"
    result

let private subsetOf values = Gen.subListOf values |> Gen.map Seq.toArray

let private mostly usual others = Gen.frequency [ 2, Gen.constant usual; 3, Gen.elements others ]

let private header name condition : HeaderMatcher = { Name = name; Condition = condition }

let private is value = Decoded.HeaderCondition.Is value

let private headers =
    Gen.frequency
        [
            2, Gen.constant [||]
            1, subsetOf [ header "x" (is "1"); header "x" (is "2") ]
        ]

let private host =
    mostly
        AnyHost
        [
            ExactHost "a.example"
            ExactHost "any.example"
            ExactHost "any.a.example"
            HostBelow "example"
            HostBelow "a.example"
        ]

let private port =
    mostly AnyPort [ ExactPort 80us; ExactPort 443us; ExactPort 8443us ]

let private demands: Gen<Decoded.Authorization option> =
    Gen.frequency
        [
            6, Gen.constant None
            1,
            Gen.constant (
                Some
                    {
                        AnyPerms = []
                        AllPerms = [ "admin" ]
                        ClientCertSans = []
                        ClientNetworks = []
                        DeniedClientNetworks = []
                        TokenIssuers = []
                        Claims = Map.empty
                        Anonymous = false
                    }
            )
        ]

let private fixedResponse: FixedResponse =
    {
        Status = 503
        Body = "later"
        BodyFile = ""
        ContentType = "text/plain; charset=utf-8"
        Headers = []
        RetryAfter = 60L
    }

let private fixedGrpcResponse: FixedGrpcResponse =
    {
        Status = Decoded.GrpcStatus.Unavailable
        Message = "later"
    }

let private split: RouteAction =
    Splits
        {
            Backends = [ { Name = "one"; Weight = 1u }; { Name = "three"; Weight = 3u } ]
            Key = None
            OnUnavailable = Decoded.OnUnavailable.Fail
        }

/// Mostly none, and never to a backend of the action.
let private mirrors (action: RouteAction) : Gen<RouteMirror list> =
    let mirror backend =
        {
            Backend = backend
            Percent = 10
            MaxBody = 65536
            UnsafeMethods = false
            WithCredentials = false
        }

    match [ "two"; "three" ] |> List.except action.Backends with
    | [] -> Gen.constant []
    | _ when action.Backends.IsEmpty -> Gen.constant []
    | others ->
        Gen.frequency
            [
                8, Gen.constant []
                1, Gen.elements others |> Gen.map (fun other -> [ mirror other ])
            ]

/// Mostly the backend, sometimes one of the other actions.
let private action (others: RouteAction list) (backend: string) : Gen<RouteAction> =
    Gen.frequency [ (8, Gen.constant (ToBackend backend)); (1, Gen.elements others) ]

/// Each on the TLS listeners and on the plain-HTTP listener.
let private onListeners (items: 'item list) : (Decoded.Listener * 'item) list =
    [
        for item in items do
            Decoded.Listener.Tls, item

        for item in items do
            Decoded.Listener.Plain, item
    ]

let httpRoute: Gen<HttpRoute> =
    gen {
        let! backend = Gen.elements [ "one"; "two"; "three" ]
        let! host = host
        let! port = port

        let! paths =
            Gen.frequency
                [
                    1, Gen.constant [||]
                    3,
                    Gen.choose (1, 3)
                    |> Gen.bind (fun count ->
                        [
                            PathPrefix ""
                            PathPrefix "/"
                            PathPrefix "/a"
                            PathPrefix "/a/"
                            PathTree "/a"
                            PathPrefix "/ax"
                            ExactPath "/ax"
                            PathPrefix "/a/b"
                            ExactPath "/"
                            ExactPath "/a"
                            ExactPath "/a/b"
                            ExactPath "/a/../b"
                            PathPrefix "/a//"
                        ]
                        |> Gen.elements
                        |> Gen.arrayOfLength count)
                ]

        let! headers = headers

        let! mode =
            mostly Decoded.ProxyMode.Any [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ]

        let! demands = demands

        let! listener =
            mostly Decoded.Listener.Tls [ Decoded.Listener.Plain; Decoded.Listener.Any ]

        let! action =
            action [ Redirects(Redirect.ToHttps 443us); Responds fixedResponse; split ] backend

        let! mirrors = mirrors action

        return
            { HttpRoute.ToBackend backend with
                Host = host
                Port = port
                Paths = paths
                Headers = headers
                Mode = mode
                Listener = listener
                Outcome =
                    {
                        Action = action
                        Mirrors = mirrors
                        Filters = Filters.None
                        BackendFilters = Map.empty
                        Policies = Policies.None
                        Demands = demands
                        Issuers = []
                        Limits = RouteLimits.None
                    }
            }
    }

let grpcRoute: Gen<GrpcRoute> =
    gen {
        let! backend = Gen.elements [ "one"; "two"; "three" ]

        let! listener =
            mostly Decoded.Listener.Tls [ Decoded.Listener.Plain; Decoded.Listener.Any ]

        let! action = action [ RespondsGrpc fixedGrpcResponse; split ] backend
        let! mirrors = mirrors action
        let! host = host
        let! port = port

        let! service =
            Gen.elements
                [
                    AnyService
                    ExactService "p.S"
                    ExactService "p"
                    ServicePrefix "p"
                    ServicePrefix "p."
                    ServicePrefix "p.S"
                    ServicePrefix "p.x"
                    ExactMethod "p.S/M"
                    MethodPrefix "p.S/"
                    MethodPrefix "p.S/M"
                ]

        let! metadata = headers
        let! demands = demands

        return
            { GrpcRoute.ToBackend backend with
                Service = service
                Host = host
                Port = port
                Metadata = metadata
                Listener = listener
                Outcome =
                    {
                        Action = action
                        Mirrors = mirrors
                        Filters = Filters.None
                        BackendFilters = Map.empty
                        Policies = Policies.None
                        Demands = demands
                        Issuers = []
                        Limits = RouteLimits.None
                    }
            }
    }

/// A route with conditions on what else a request has: its method, query and headers.
let conditionsRoute: Gen<HttpRoute> =
    gen {
        let! backend = Gen.elements [ "one"; "two"; "three" ]
        let! host = mostly AnyHost [ ExactHost "a.example" ]

        let! methods =
            mostly [||] [ [| "GET" |]; [| "POST" |]; [| "GET"; "POST" |]; [| "OPTIONS" |] ]

        let! paths =
            mostly
                [||]
                [
                    [| PathPrefix "" |]
                    [| PathPrefix "/a" |]
                    [| PathTree "/a" |]
                    [| ExactPath "*" |]
                ]

        let! query =
            mostly [||] [ [| QueryMatcher.Of("v", "1") |]; [| QueryMatcher.Of("v", "2 3") |] ]

        let! headers =
            Gen.frequency
                [
                    1, Gen.constant [||]
                    1,
                    subsetOf
                        [
                            header "x" (is "1")
                            header "x" (Decoded.HeaderCondition.StartsWith "1")
                            header "x" Decoded.HeaderCondition.Present
                            header "y" Decoded.HeaderCondition.Present
                        ]
                ]

        let! demands = demands

        return
            { HttpRoute.ToBackend backend with
                Host = host
                Methods = methods
                Paths = paths
                Query = query
                Headers = headers
                Outcome =
                    {
                        Action = ToBackend backend
                        Mirrors = []
                        Filters = Filters.None
                        BackendFilters = Map.empty
                        Policies = Policies.None
                        Demands = demands
                        Issuers = []
                        Limits = RouteLimits.None
                    }
            }
    }

/// Up to nine routes.
let table route = Gen.choose (0, 9) |> Gen.bind (fun count -> Gen.arrayOfLength count route)

let private hosts =
    [
        "a.example"
        "any.example"
        "c.example"
        "any.a.example"
        "z.a.example"
        "other"
    ]

let private ports =
    AuthorityPorts.Unspecified
    :: List.map AuthorityPorts.Of [ 80us; 443us; 8443us; 9090us ]

let private subsets (all: 'item list) : 'item list list =
    (all, [ [] ])
    ||> List.foldBack (fun item sets -> sets @ List.map (fun set -> item :: set) sets)

let private headerSets = subsets [ "x", "1"; "x", "2" ]

/// Every HTTP request that the tables above can tell apart. A forward-proxy request always has one port.
let httpUniverse: HttpRequest array =
    [|
        for host in hosts do
            for ports in ports do
                for path in
                    [
                        "/"
                        "/a"
                        "/az"
                        "/ax"
                        "/axz"
                        "/a/"
                        "/a/z"
                        "/a/b"
                        "/a/bz"
                        "/b"
                        "/z"
                        "*"
                    ] do
                    for mode in [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ] do
                        for listener, headers in onListeners headerSets do
                            if mode = Decoded.ProxyMode.ReverseProxy || ports.Explicit <> 0us then
                                {
                                    Method = (if path = "*" then "OPTIONS" else "GET")
                                    Host = host
                                    Ports = ports
                                    Path = path
                                    Query = ""
                                    Mode = mode
                                    Listener = listener
                                    Headers = headers
                                }
    |]

/// Every HTTP request that tables of `conditionsRoute` can tell apart.
let conditionsUniverse: HttpRequest array =
    [|
        for method in [ "GET"; "POST"; "PUT"; "OPTIONS" ] do
            for host in [ "a.example"; "any.example" ] do
                for path in [ "/a"; "/a/z"; "/az"; "/z"; "*" ] do
                    for query in [ ""; "v=1"; "v=2%203"; "v=3" ] do
                        for mode in [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ] do
                            for headers in subsets [ "x", "1"; "x", "1z"; "x", "z"; "y", "z" ] do
                                if path <> "*" || method = "OPTIONS" then
                                    {
                                        Method = method
                                        Host = host
                                        Ports = AuthorityPorts.Of 8443us
                                        Path = path
                                        Query = query
                                        Mode = mode
                                        Listener = Decoded.Listener.Tls
                                        Headers = headers
                                    }
    |]

/// Every call that the tables above can tell apart.
let grpcUniverse: GrpcRequest array =
    [|
        for host in hosts do
            for ports in ports do
                for service in [ "p"; "p.S"; "pz"; "p.z"; "p.x"; "p.Sz"; "z" ] do
                    for method in [ "M"; "Mz"; "z" ] do
                        for listener, headers in onListeners headerSets do
                            {
                                Host = host
                                Ports = ports
                                Service = service
                                Method = method
                                Listener = listener
                                Metadata = headers
                            }
    |]

/// What the laws need of a protocol, so that each is written once.
type Subject<'route, 'request> =
    {
        Name: string
        Semantics: RouteSemantics<'route, 'request>
        Route: Gen<'route>
        Universe: 'request array
        Match: 'route array -> 'request -> int option
    }

    member subject.Table = table subject.Route

    member subject.Outcome (routes: 'route array) (request: 'request) =
        subject.Match routes request
        |> Option.map (fun index -> subject.Semantics.Outcome routes[index])

let http =
    {
        Name = "HTTP"
        Semantics = RouteSemantics.http
        Route = httpRoute
        Universe = httpUniverse
        Match = Router.matchHttp
    }

let grpc =
    {
        Name = "gRPC"
        Semantics = RouteSemantics.grpc
        Route = grpcRoute
        Universe = grpcUniverse
        Match = Router.matchGrpc
    }

/// HTTP with conditions on the method, the query and the headers.
let conditions =
    { http with
        Name = "HTTP with methods, queries and headers"
        Route = conditionsRoute
        Universe = conditionsUniverse
    }
