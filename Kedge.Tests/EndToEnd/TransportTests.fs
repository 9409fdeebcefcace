/// The transports, where they differ. Everything else is tested with the one that KEDGE_TRANSPORT names.
module Kedge.Tests.EndToEnd.TransportTests

open System
open System.IO
open System.Net.Security
open System.Net.Sockets
open System.Security.Authentication
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

/// Both kinds of TLS have the same suites, and ask for the same protocols.
let private speaks (transport: string) (version: SslProtocols) =
    task {
        use! kedge =
            Kedge.Start(Json.director [] [], Json.pool [] [], [ $"--transport={transport}" ])

        for port, protocol in
            [
                kedge.HttpsPort, SslApplicationProtocol.Http11
                kedge.GrpcPort, SslApplicationProtocol.Http2
            ] do
            use socket = new TcpClient("127.0.0.1", port)
            use tls = new SslStream(socket.GetStream())

            do!
                tls.AuthenticateAsClientAsync(
                    SslClientAuthenticationOptions(
                        TargetHost = "shop.example",
                        EnabledSslProtocols = version,
                        ApplicationProtocols = ResizeArray [ SslApplicationProtocol "smtp"; protocol ],
                        RemoteCertificateValidationCallback = (fun _ _ _ _ -> true)
                    )
                )

            Expect.equal (tls.SslProtocol, tls.NegotiatedApplicationProtocol) (version, protocol) "negotiated"

            Expect.equal
                tls.NegotiatedCipherSuite
                (if version = SslProtocols.Tls12 then
                     TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                 else
                     TlsCipherSuite.TLS_AES_256_GCM_SHA384)
                "the suite"

            if protocol = SslApplicationProtocol.Http11 then
                do! tls.WriteAsync("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"B.AsMemory())
                use reader = new StreamReader(tls)
                let! answer = reader.ReadToEndAsync()
                Expect.stringStarts answer "HTTP/1.1 502 " "an answer, and the end"
    }

[<Tests>]
let tests =
    testList
        "transports"
        [
            serves [ "--transport=sockets" ] []
            serves [ "--transport=epoll"; "--server_threads=1" ] [ "loop 0" ]
            serves [ "--transport=epoll"; "--server_threads=3" ] [ "loop 0"; "loop 1"; "loop 2" ]
            serves [ "--transport=epoll" ] oneForEachCore

            for transport in [ "epoll"; "sockets" ] do
                for version in [ SslProtocols.Tls12; SslProtocols.Tls13 ] do
                    case $"--transport={transport} serves {version} with the same suite" (fun () ->
                        speaks transport version)

            // Nothing is set: the default on Linux.
            match Environment.GetEnvironmentVariable "KEDGE_TRANSPORT" with
            | "sockets" -> ()
            | _ -> serves [] oneForEachCore
        ]
