namespace Kedge.PropertyTests

open System
open FsCheck
open FsCheck.FSharp
open Kedge.Domain

[<AutoOpen>]
module private Spelling =

    let spellHeaders (matchers: HeaderMatcher array) =
        let each = matchers |> Array.map (fun matcher -> $"{matcher.Name}={matcher.Value}")
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
                $"\n  route %d{index}: %A{route.Host} %A{route.Port} %A{List.ofArray route.Paths} %s{spellHeaders route.Headers} {route.Mode}")

        let request = case.Request

        $"%s{String.concat String.Empty routes}\n  request: %A{request.Host} ports %d{request.Ports.First}/%d{request.Ports.Second} %A{request.Path} %A{request.Headers} {request.Mode}"

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
module Generators =

    let private often few usual = Gen.frequency [ (1, few); (4, usual) ]

    // With a `k` and an `s`, which have further cases outside of ASCII, and one that is a suffix of another.
    let private hosts =
        [
            "a.example"
            "b.a.example"
            "kiosk.example"
            "a-rather-long.name.with.many.labels.example"
            "::1"
        ]

    let private ports = [ 80us; 443us; 8080us ]

    let private paths =
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

    let private services = [ "a.A"; "a.Ab"; "a.B"; "b.A"; "long.package.v1.Service" ]
    let private methods = [ "Get"; "GetAll"; "List" ]
    let private headerNames = [ "x-env"; "x-team" ]
    let private headerValues = [ "prod"; "dev"; "" ]

    /// Upper and lower case at random.
    let anyCase (text: string) =
        Gen.choose (0, Int32.MaxValue)
        |> Gen.map (fun bits ->
            text
            |> String.mapi (fun at c ->
                if bits >>> (at % 31) &&& 1 = 1 then
                    Char.ToUpperInvariant c
                else
                    c))

    /// Any characters at all, control characters and lone surrogates among them.
    let anyText =
        Gen.frequency
            [
                (3, Gen.choose (32, 126))
                (1, Gen.choose (0, 31))
                (1, Gen.choose (127, 0xFFFF))
            ]
        |> Gen.map char
        |> Gen.listOf
        |> Gen.map (List.toArray >> String)

    /// Spellings of a host that is in the table, and what only looks like one.
    let requestHost (host: string) =
        Gen.frequency
            [
                (6, Gen.constant host)
                (3, anyCase host)
                (2, anyCase host |> Gen.map (fun host -> host + "."))
                (1, Gen.constant "")
                (1,
                 Gen.elements
                     [
                         ""
                         "."
                         host + ".."
                         "." + host
                         "x" + host
                         host + "x"
                         host.Substring 1
                         host.Substring(0, host.Length - 1)
                         host + "\000"
                         host.Replace('k', '\u212A')
                         host.Replace('s', '\u017F')
                         host.Replace('a', '\u00E4')
                         host.Replace('.', '\u3002')
                         // Differ in the bit by which cases differ, without being letters.
                         host.Replace('.', '\014')
                         host.Replace('-', '\r')
                         host + ":443"
                         "[" + host + "]"
                         String('a', 5000)
                     ])
                (1, anyText)
            ]

    let private header =
        Gen.map2
            (fun name value -> { Name = name; Value = value })
            (Gen.elements headerNames)
            (Gen.elements headerValues)

    let private headerMatchers =
        Gen.frequency
            [
                (4, Gen.constant [||])
                (2, Gen.map Array.singleton header)
                (1, Gen.map Array.ofList (Gen.listOfLength 2 header))
            ]

    let private hostMatcher =
        Gen.frequency [ (1, Gen.constant AnyHost); (4, Gen.elements hosts |> Gen.map ExactHost) ]

    let private portMatcher =
        Gen.frequency [ (1, Gen.constant AnyPort); (1, Gen.elements ports |> Gen.map ExactPort) ]

    let private pathRule =
        Gen.frequency
            [
                (3, Gen.elements paths |> Gen.map ExactPath)
                (3, Gen.elements paths |> Gen.map PathPrefix)
                (1, Gen.constant (PathPrefix ""))
            ]

    let httpRoute =
        gen {
            let! host = hostMatcher
            let! port = portMatcher

            let! count =
                Gen.frequency [ (2, Gen.constant 0); (3, Gen.constant 1); (2, Gen.choose (2, 4)) ]

            let! paths = Gen.listOfLength count pathRule
            let! headers = headerMatchers

            let! mode =
                often
                    (Gen.elements [ Decoded.ProxyMode.ReverseProxy; Decoded.ProxyMode.ForwardProxy ])
                    (Gen.constant Decoded.ProxyMode.Any)

            return
                {
                    Backend = "backend"
                    Host = host
                    Port = port
                    Paths = Array.ofList paths
                    Headers = headers
                    Mode = mode
                    Authorization = None
                    Autogenerated = false
                }
                : HttpRoute
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

            return
                {
                    Backend = "backend"
                    Service = matcher
                    Host = host
                    Port = port
                    Metadata = metadata
                    Authorization = None
                    Autogenerated = false
                }
                : GrpcRoute
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
                |> List.map (fun header -> anyCase header.Name |> Gen.map (fun name -> name, header.Value))
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

    let private portsFor matcher =
        match matcher with
        | ExactPort port -> often requestPorts (Gen.constant (AuthorityPorts.Of port))
        | AnyPort -> requestPorts

    let private httpCaseGen =
        gen {
            let! routes = table httpRoute
            let! model = modelOf routes httpRoute
            let! host = hostFor model.Host
            let! ports = portsFor model.Port
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
                        | PathPrefix prefix -> requestPath |> Gen.map (fun path -> prefix + path))
                    |> often requestPath

            return
                {
                    Routes = routes
                    Request =
                        {
                            Host = host
                            Ports = ports
                            Path = path
                            Mode = mode
                            Headers = headers
                        }
                }
                : HttpCase
        }

    let private grpcCaseGen =
        gen {
            let! routes = table grpcRoute
            let! model = modelOf routes grpcRoute
            let! host = hostFor model.Host
            let! ports = portsFor model.Port
            let! metadata = requestHeaders model.Metadata
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
                            Metadata = metadata
                        }
                }
                : GrpcCase
        }

    // Shrinking: fewer routes, then conditions that go, then a plainer request.

    /// To the plain texts, earlier ones first; then to shorter ones.
    let private shrinkText (text: string) (plain: string list) =
        seq {
            yield! plain |> List.takeWhile (fun candidate -> candidate <> text)

            if not (List.contains text plain) && text.Length > 1 then
                yield text.Substring(0, text.Length / 2)
                yield text.Substring(0, text.Length - 1)
                yield text.Substring 1
        }

    let private without items = seq { for index in 0 .. List.length items - 1 -> List.removeAt index items }

    let private withoutMany items =
        seq {
            let half = List.length items / 2

            if half > 1 then
                yield List.take half items
                yield List.skip half items

            yield! without items
        }

    let private withoutOne (items: 'item array) = without (List.ofArray items) |> Seq.map Array.ofList

    let private inPlace shrinkItem items =
        seq {
            for index, item in List.indexed items do
                for smaller in shrinkItem item -> List.updateAt index smaller items
        }

    let private shrinkHttpRoute (route: HttpRoute) =
        seq {
            if route.Host <> AnyHost then
                { route with Host = AnyHost }

            if route.Port <> AnyPort then
                { route with Port = AnyPort }

            if route.Mode <> Decoded.ProxyMode.Any then
                { route with
                    Mode = Decoded.ProxyMode.Any
                }

            for paths in withoutOne route.Paths do
                { route with Paths = paths }

            for headers in withoutOne route.Headers do
                { route with Headers = headers }
        }

    let private shrinkGrpcRoute (route: GrpcRoute) =
        seq {
            if route.Host <> AnyHost then
                { route with Host = AnyHost }

            if route.Port <> AnyPort then
                { route with Port = AnyPort }

            if route.Service <> AnyService then
                { route with Service = AnyService }

            for metadata in withoutOne route.Metadata do
                { route with Metadata = metadata }
        }

    let private shrinkHttp (case: HttpCase) =
        let request = case.Request

        seq {
            for routes in withoutMany case.Routes do
                { case with Routes = routes }

            for routes in inPlace shrinkHttpRoute case.Routes do
                { case with Routes = routes }

            for headers in without request.Headers do
                { case with
                    Request = { request with Headers = headers }
                }

            for host in shrinkText request.Host hosts do
                { case with
                    Request = { request with Host = host }
                }

            for path in shrinkText request.Path paths do
                { case with
                    Request = { request with Path = path }
                }
        }

    let private shrinkGrpc (case: GrpcCase) =
        let request = case.Request

        seq {
            for routes in withoutMany case.Routes do
                { case with Routes = routes }

            for routes in inPlace shrinkGrpcRoute case.Routes do
                { case with Routes = routes }

            for metadata in without request.Metadata do
                { case with
                    Request = { request with Metadata = metadata }
                }

            for host in shrinkText request.Host hosts do
                { case with
                    Request = { request with Host = host }
                }

            for service in shrinkText request.Service services do
                { case with
                    Request = { request with Service = service }
                }

            for method in shrinkText request.Method methods do
                { case with
                    Request = { request with Method = method }
                }
        }

    let httpCase = Arb.fromGenShrink (httpCaseGen, shrinkHttp)
    let grpcCase = Arb.fromGenShrink (grpcCaseGen, shrinkGrpc)

    /// Texts put together from one of the starts and some of the pieces, shrunk by leaving pieces out, then characters.
    let textAfter (starts: string list) (pieces: string list) =
        let start = Gen.elements starts
        let piece = Gen.elements pieces

        let texts =
            Gen.choose (0, 6)
            |> Gen.bind (fun count -> Gen.map2 (fun start rest -> start :: rest) start (Gen.listOfLength count piece))

        Arb.fromGenShrink (texts, withoutMany)
        |> Arb.convert (String.concat "") (fun text -> [ for c in text -> string c ])

    /// Texts put together from the given pieces.
    let textOf (pieces: string list) = textAfter [ "" ] pieces
