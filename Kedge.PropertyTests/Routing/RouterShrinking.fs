/// Tables and requests, which shrink: to fewer routes, then fewer conditions, then a plainer request.
module Kedge.PropertyTests.RouterShrinking

open FsCheck.FSharp
open Kedge.Domain
open Kedge.PropertyTests.Generators
open Kedge.PropertyTests.RouterCases

/// To the plain texts, earlier ones first; then to shorter ones.
let private shrinkText (text: string) (plain: string list) =
    seq {
        yield! plain |> List.takeWhile (fun candidate -> candidate <> text)

        if not (List.contains text plain) && text.Length > 1 then
            yield text.Substring(0, text.Length / 2)
            yield text.Substring(0, text.Length - 1)
            yield text.Substring 1
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

        if route.Listener <> Decoded.Listener.Tls then
            { route with
                Listener = Decoded.Listener.Tls
            }

        for paths in withoutOne route.Paths do
            { route with Paths = paths }

        for methods in withoutOne route.Methods do
            { route with Methods = methods }

        for query in withoutOne route.Query do
            { route with Query = query }

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

        if route.Listener <> Decoded.Listener.Tls then
            { route with
                Listener = Decoded.Listener.Tls
            }

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

        for query in shrinkText request.Query [ "" ] do
            { case with
                Request = { request with Query = query }
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

let httpCase = Arb.fromGenShrink (httpCases, shrinkHttp)
let grpcCase = Arb.fromGenShrink (grpcCases, shrinkGrpc)
