/// The transports, where they differ. Everything else is tested with the one that KEDGE_TRANSPORT names.
module Kedge.Tests.EndToEnd.TransportTests

open System
open System.IO
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// The names of the threads of a process.
let private threads (id: int) =
    [
        for task in Directory.GetDirectories $"/proc/{id}/task" -> File.ReadAllText($"{task}/comm").Trim()
    ]

let private loops (id: int) =
    threads id
    |> List.filter _.StartsWith("loop ", StringComparison.Ordinal)
    |> List.sort

let private oneForEachCore =
    List.sort [ for i in 0 .. Environment.ProcessorCount - 1 -> $"loop {i}" ]

let private serves (flags: string list) (expected: string list) =
    case $"""kedge serves HTTP/1.1, HTTP/2 and gRPC with {String.Join(' ', flags)}""" (fun () ->
        task {
            use backend = new HttpPeer "plain"
            use echo = new GrpcPeer "echo"

            use! kedge =
                Kedge.Start(
                    Json.director [ Json.httpRoute "plain" "plain.example" ] [ Json.grpcRoute "echo" "echo.example" ],
                    Json.pool [ Json.backend "plain" backend.Port ] [ Json.backend "echo" echo.Port ],
                    flags
                )

            Expect.equal (loops kedge.Program.Id) expected "its event loops"

            for client in [ Clients.http1 kedge.HttpsPort None; Clients.http2 kedge.HttpsPort None ] do
                use client = client
                use! response = client.GetAsync "https://plain.example/"
                Expect.equal (int response.StatusCode) 200 $"HTTP/{response.Version}"

            let client = Echo.EchoClient(Clients.grpc kedge.GrpcPort None "echo.example:443")
            let! reply = client.UnaryAsync(EchoRequest(Text = "hi")).ResponseAsync
            Expect.equal reply.Text "hi" "gRPC"
        })

[<Tests>]
let tests =
    testList
        "transports"
        [
            serves [ "--transport=sockets" ] []
            serves [ "--transport=epoll"; "--server_threads=1" ] [ "loop 0" ]
            serves [ "--transport=epoll"; "--server_threads=3" ] [ "loop 0"; "loop 1"; "loop 2" ]
            serves [ "--transport=epoll" ] oneForEachCore

            // Nothing is set: the default on Linux.
            match Environment.GetEnvironmentVariable "KEDGE_TRANSPORT" with
            | "sockets" -> ()
            | _ -> serves [] oneForEachCore
        ]
