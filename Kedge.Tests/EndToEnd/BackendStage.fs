/// Backends with several endpoints, found by DNS.
module Kedge.Tests.EndToEnd.BackendStage

open System
open System.Net
open System.Threading.Tasks
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

/// An HTTP peer at an address of this machine, named after it.
let peerAt (address: string) (port: int) =
    new HttpPeer(address, HttpProtocols.Http1, None, IPEndPoint(IPAddress.Parse address, port))

/// Peers on the same port of several addresses, and that port.
let onAddresses (addresses: string list) =
    let port = Ports.free ()
    port, [ for address in addresses -> peerAt address port ]

let disposing (items: #IDisposable list) =
    { new IDisposable with
        member _.Dispose() =
            for item in items do
                item.Dispose()
    }

/// The records by which `many.test` has these addresses.
let addressesOf (addresses: string list) = addresses |> List.map (fun address -> Address("many.test", address))

/// A DNS server whose `many.test` has these addresses.
let dnsOf (ttl: int) (addresses: string list) =
    task {
        let dns = new Dns(ttl)
        do! dns.Serve(addressesOf addresses)
        return dns
    }

/// A backend `many` at this port of `many.test`; `more` are further fields.
let manyBackend (port: int) (more: string) =
    $$"""{ "name": "many", "host": { "dns_name": "many.test", "port": {{port}} }{{more}} }"""

/// A kedge with an HTTP and a gRPC backend `many`, which are the only ones, at `many.example`.
let startMany (dns: Dns) (http: string) (grpc: string) (flags: string list) =
    Kedge.Start(
        Json.director [ Json.httpRoute "many" "many.example" ] [ Json.grpcRoute "many" "many.example" ],
        Json.pool [ http ] [ grpc ],
        $"--dns_nameservers=127.0.0.1:{dns.Port}" :: flags
    )

let startHttp dns port more flags = startMany dns (manyBackend port more) (manyBackend port "") flags

/// The bodies of the answers to so many requests, one after the other.
let bodies client count : Task<string list> =
    task {
        let answers = ResizeArray<string>()

        for _ in 1..count do
            let! answer = get client "https://many.example/" []
            answers.Add answer.Body

        return List.ofSeq answers
    }

let answering (status: int) (context: HttpContext) : Task =
    context.Response.StatusCode <- status
    Task.CompletedTask
