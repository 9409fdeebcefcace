namespace Kedge.PropertyTests

open System
open FsCheck
open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.Generators

[<AutoOpen>]
module private Spelling =

    let spellHeaders (matchers: HeaderMatcher array) =
        let each = matchers |> Array.map _.Text
        $"""[{String.Join("; ", each)}]"""

/// A table and a request to it.
[<StructuredFormatDisplay("{Text}")>]
type HttpCase =
    {
        Routes: HttpRoute list
        Request: HttpRequest
    }

    member case.Text =
        let routes =
            case.Routes
            |> List.mapi (fun index route ->
                $"\n  route %d{index}: %A{route.Host} %A{route.Port} %A{List.ofArray route.Methods} %A{List.ofArray route.Paths} %A{route.Query |> Array.map _.Text} %s{spellHeaders route.Headers} {route.Mode}")

        let request = case.Request

        $"%s{String.concat String.Empty routes}\n  request: %A{request.Method} %A{request.Host} ports %d{request.Ports.First}/%d{request.Ports.Second} %A{request.Path} %A{request.Query} %A{request.Headers} {request.Mode}"

/// A table and a call to it.
[<StructuredFormatDisplay("{Text}")>]
type GrpcCase =
    {
        Routes: GrpcRoute list
        Request: GrpcRequest
    }

    member case.Text =
        let routes =
            case.Routes
            |> List.mapi (fun index route ->
                $"\n  route %d{index}: %A{route.Host} %A{route.Port} %A{route.Service} %s{spellHeaders route.Metadata}")

        let request = case.Request

        $"%s{String.concat String.Empty routes}\n  request: %A{request.Host} ports %d{request.Ports.First}/%d{request.Ports.Second} %A{request.Service} %A{request.Method} %A{request.Metadata}"

/// Tables and requests that meet: few distinct hosts, ports and paths, and requests made from a route of the table.
module RouterCases =

    let private ports = [ 80us; 443us; 8080us ]

    let paths =
        [
            "/"
            "/a"
            "/a/"
            "/ab"
            "/a/b"
            "/a/b/c/d/e/f"
            "/api/v1/things/1"
            "/api/v1/things/2"
            "/b"
        ]

    let services = [ "a.A"; "a.Ab"; "a.B"; "b.A"; "long.package.v1.Service" ]
    let methods = [ "Get"; "GetAll"; "List" ]
    let private headerNames = [ "x-env"; "x-team" ]
    let private headerValues = [ "prod"; "dev"; "" ]

    let private header =
        let condition =
            Gen.frequency
                [
                    3, Gen.map Decoded.HeaderCondition.Is (Gen.elements headerValues)
                    1, Gen.map Decoded.HeaderCondition.StartsWith (Gen.elements [ "p"; "pro"; "prod" ])
                    1, Gen.constant Decoded.HeaderCondition.Present
                ]

        Gen.map2 (fun name condition -> { Name = name; Condition = condition }) (Gen.elements headerNames) condition

    let private parents =
        hosts |> List.collect (fun host -> (ExactHost host).Wildcards) |> List.distinct

    let private methodMatcher =
        Gen.frequency
            [
                4, Gen.constant [||]
                1, Gen.elements [ [| "GET" |]; [| "POST"; "PUT" |]; [| "GET"; "PURGE" |] ]
            ]

    let private queryNames = [ "v"; "a b"; "é" ]
    let private queryValues = [ "1"; "x y"; "100%"; "" ]

    let private queryMatchers =
        let matcher =
            Gen.map2
                (fun name value -> QueryMatcher.Of(name, value))
                (Gen.elements queryNames)
                (Gen.elements queryValues)

        Gen.frequency [ 5, Gen.constant [||]; 1, Gen.map Array.singleton matcher ]

    let private headerMatchers =
        Gen.frequency
            [
                (4, Gen.constant [||])
                (2, Gen.map Array.singleton header)
                (1, Gen.map Array.ofList (Gen.listOfLength 2 header))
            ]

    let private listenerMatcher =
        Gen.frequency
            [
                4, Gen.constant Decoded.Listener.Tls
                1, Gen.elements [ Decoded.Listener.Plain; Decoded.Listener.Any ]
            ]

    /// Mostly one on which the route holds.
    let private listenerFor (expected: Decoded.Listener) =
        Gen.frequency
            [
                8,
                Gen.constant (
                    if expected = Decoded.Listener.Any then
                        Decoded.Listener.Plain
                    else
                        expected
                )
                1, Gen.elements [ Decoded.Listener.Tls; Decoded.Listener.Plain ]
            ]

    let private hostMatcher =
        Gen.frequency
            [
                (1, Gen.constant AnyHost)
                (4, Gen.elements hosts |> Gen.map ExactHost)
                (2, Gen.elements parents)
            ]

    let private portMatcher =
        Gen.frequency [ (1, Gen.constant AnyPort); (1, Gen.elements ports |> Gen.map ExactPort) ]

    let private pathRule =
        Gen.frequency
            [
                (3, Gen.elements paths |> Gen.map ExactPath)
                (3, Gen.elements paths |> Gen.map PathPrefix)
                (2, Gen.elements [ "/a"; "/a/b"; "/api/v1"; "/b" ] |> Gen.map PathTree)
                (1, Gen.constant (PathPrefix ""))
            ]

    let httpRoute =
        gen {
            let! host = hostMatcher
            let! port = portMatcher

            let! count =
                Gen.frequency [ (2, Gen.constant 0); (3, Gen.constant 1); (2, Gen.choose (2, 4)) ]

            let! methods = methodMatcher
            let! paths = Gen.listOfLength count pathRule
            let! query = queryMatchers
            let! headers = headerMatchers

            let! mode =
                often
                    (Gen.elements [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ])
                    (Gen.constant Decoded.ProxyMode.Any)

            let! listener = listenerMatcher

            return
                { HttpRoute.ToBackend "backend" with
                    Host = host
                    Port = port
                    Methods = methods
                    Paths = Array.ofList paths
                    Query = query
                    Headers = headers
                    Mode = mode
                    Listener = listener
                }
        }

    let grpcRoute =
        gen {
            let! host = hostMatcher
            let! port = portMatcher
            let! service = Gen.elements services
            let! method = Gen.elements methods
            let! cut = Gen.choose (0, service.Length)
            let! methodCut = Gen.choose (0, method.Length)

            let! matcher =
                Gen.elements
                    [
                        AnyService
                        ExactService service
                        ServicePrefix(service.Substring(0, cut))
                        ExactMethod(service + "/" + method)
                        MethodPrefix(service + "/" + method.Substring(0, methodCut))
                    ]

            let! metadata = headerMatchers
            let! listener = listenerMatcher

            return
                { GrpcRoute.ToBackend "backend" with
                    Service = matcher
                    Host = host
                    Port = port
                    Metadata = metadata
                    Listener = listener
                }
        }

    let private table route =
        Gen.frequency [ (2, Gen.choose (0, 2)); (14, Gen.choose (3, 10)); (1, Gen.choose (20, 40)) ]
        |> Gen.bind (fun count -> Gen.listOfLength count route)

    let private requestPorts =
        Gen.frequency
            [
                (3, Gen.constant AuthorityPorts.Unspecified)
                (4, Gen.elements ports |> Gen.map AuthorityPorts.Of)
                (1, Gen.elements [ 1us; 8081us; 65535us ] |> Gen.map AuthorityPorts.Of)
            ]

    let private requestHeaders (wanted: HeaderMatcher array) =
        gen {
            let! kept =
                often (Gen.subListOf (List.ofArray wanted)) (Gen.constant (List.ofArray wanted))

            let! others = often (Gen.map List.singleton header) (Gen.constant [])

            let! spelled =
                kept @ others
                |> List.map (fun header ->
                    let values =
                        match header.Condition with
                        | Decoded.HeaderCondition.Is value -> [ value ]
                        | Decoded.HeaderCondition.StartsWith prefix -> [ prefix; prefix + "x" ]
                        | Decoded.HeaderCondition.Present -> [ ""; "x" ]

                    Gen.zip (anyCase header.Name) (Gen.elements values))
                |> Gen.sequenceToList

            return! Gen.shuffle spelled |> Gen.map List.ofArray
        }

    let private requestPath =
        Gen.oneof
            [
                Gen.elements paths
                Gen.elements paths |> Gen.map (fun path -> path + "/x")
                Gen.elements paths |> Gen.map (fun path -> path + "x")
                Gen.elements paths |> Gen.map (fun path -> path.Substring(0, path.Length - 1))
                anyText |> Gen.map (fun text -> "/" + text)
            ]

    /// What a request to the table is modelled on: one of its routes, or another.
    let private modelOf routes route =
        match routes with
        | [] -> route
        | routes -> often route (Gen.elements routes)

    let private hostFor matcher =
        match matcher with
        | ExactHost host -> requestHost host
        | AnyHost -> Gen.elements hosts |> Gen.bind requestHost
        | HostBelow parent ->
            Gen.elements [ "x." + parent; "x.y." + parent; parent; "." + parent; "x" + parent ]
            |> Gen.bind requestHost

    let private methodFor (matcher: string array) =
        if matcher.Length = 0 then
            Gen.elements [ "GET"; "POST"; "get" ]
        else
            often (Gen.elements [ "GET"; "POST"; "get"; "" ]) (Gen.elements matcher)

    /// One of the spellings of a text in a query.
    let private queryText (text: string) =
        let escaped = Uri.EscapeDataString text

        Gen.elements
            [
                escaped
                escaped.Replace("%20", "+")
                escaped.ToLowerInvariant()
                text
                escaped + "x"
                "%31" + escaped
                escaped.Replace("%", "%%")
            ]

    let private queryFor (matchers: QueryMatcher array) =
        let other = Gen.elements [ "v=9"; "w=1"; "v"; "="; ""; "%zz=%"; "v=1=1"; "v=%31" ]

        gen {
            let! wanted =
                matchers
                |> List.ofArray
                |> List.map (fun matcher ->
                    Gen.map2 (fun name value -> name + "=" + value) (queryText matcher.Name) (queryText matcher.Value))
                |> Gen.sequenceToList

            let! before = often (Gen.listOfLength 1 other) (Gen.constant [])
            let! after = Gen.frequency [ 2, Gen.constant []; 1, Gen.listOfLength 2 other ]
            return String.Join("&", before @ wanted @ after)
        }

    let private portsFor matcher =
        match matcher with
        | ExactPort port -> often requestPorts (Gen.constant (AuthorityPorts.Of port))
        | AnyPort -> requestPorts

    let httpCases =
        gen {
            let! routes = table httpRoute
            let! model = modelOf routes httpRoute
            let! method = methodFor model.Methods
            let! host = hostFor model.Host
            let! ports = portsFor model.Port
            let! query = queryFor model.Query
            let! headers = requestHeaders model.Headers

            let! mode =
                Gen.elements [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ]

            let! path =
                match List.ofArray model.Paths with
                | [] -> requestPath
                | rules ->
                    Gen.elements rules
                    |> Gen.bind (function
                        | ExactPath path -> Gen.constant path
                        | PathTree root -> Gen.elements [ root; root + "/"; root + "/x"; root + "x" ]
                        | PathPrefix prefix -> requestPath |> Gen.map (fun path -> prefix + path))
                    |> often requestPath

            let! listener = listenerFor model.Listener

            return
                {
                    Routes = routes
                    Request =
                        {
                            Method = method
                            Host = host
                            Ports = ports
                            Path = path
                            Query = query
                            Mode = mode
                            Listener = listener
                            Headers = headers
                        }
                }
                : HttpCase
        }

    let grpcCases =
        gen {
            let! routes = table grpcRoute
            let! model = modelOf routes grpcRoute
            let! host = hostFor model.Host
            let! ports = portsFor model.Port
            let! metadata = requestHeaders model.Metadata
            let! listener = listenerFor model.Listener
            let! service = often anyText (Gen.elements (services @ [ ""; "a."; "a.Abc" ]))
            let! method = often anyText (Gen.elements (methods @ [ ""; "Ge"; "Get/x" ]))

            let service, method =
                match model.Service with
                | ExactService service -> service, method
                | ExactMethod text ->
                    let slash = text.IndexOf '/'
                    text.Substring(0, slash), text.Substring(slash + 1)
                | _ -> service, method

            return
                {
                    Routes = routes
                    Request =
                        {
                            Host = host
                            Ports = ports
                            Service = service
                            Method = method
                            Listener = listener
                            Metadata = metadata
                        }
                }
                : GrpcCase
        }
