module Kedge.Tests.EndToEnd.BackendTlsTests

open System
open System.IO
open System.Net.Security
open System.Security.Authentication
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

/// A kedge whose backends `secure` are these ports of 127.0.0.1, with this `security` and these `tls_server_configs`.
let private start (http: int) (grpc: int) (security: string) (configs: string) =
    let backend (port: int) =
        $$"""{ "name": "secure", "security": {{security}}, "host": { "dns_name": "127.0.0.1", "port": {{port}} } }"""

    let pool =
        $$"""{ "tls_server_configs": [{{configs}}], "http": { "backends": [{{backend http}}] }, "grpc": { "backends": [{{backend grpc}}] } }"""

    Kedge.Start(
        Json.director [ Json.httpRoute "secure" "secure.example" ] [ Json.grpcRoute "secure" "secure.example" ],
        pool,
        [ "--lbtransport_failed_target_backoff_duration=0" ]
    )

let private secure (names: string list) =
    let identity = Certificates.authority.Value.ServerFor names

    new HttpPeer("secure", HttpProtocols.Http1AndHttp2, Some identity), new GrpcPeer("secure", Some identity)

let private config (caFile: string) (more: string) =
    $$"""{ "name": "internal", "ca_files": [{{Json.value caFile}}]{{more}} }"""

let private asked (kedge: Kedge) =
    task {
        use client = Clients.http1 kedge.HttpsPort None
        return! get client "https://secure.example/" []
    }

let private called (kedge: Kedge) =
    task {
        use channel = Clients.grpc kedge.GrpcPort None "secure.example:443"
        return! Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x")).ResponseAsync
    }

[<Tests>]
let tests =
    testList
        "TLS to backends"
        [
            case
                "a certificate of another CA is refused with the reason; a rotated CA file is picked up; the client certificate is shown"
                (fun () ->
                    task {
                        let http, grpc = secure [ "127.0.0.1" ]
                        use http = http
                        use grpc = grpc
                        use scratch = new Scratch()

                        let caFile =
                            scratch.Write("ca.crt", File.ReadAllText Certificates.stranger.Value.File)

                        let client = Certificates.client.Value

                        let withClient =
                            $", \"client_cert_file\": {Json.value client.CertFile}, \"client_key_file\": {Json.value client.KeyFile}"

                        use! kedge =
                            start http.Port grpc.Port """{ "config_name": "internal" }""" (config caFile withClient)

                        let! refused = asked kedge

                        Expect.equal
                            (refused.Status, refused.Header "X-Kedge-Error-Type")
                            (502, "no-connection-to-all-resolved-addresses")
                            "refused"

                        Expect.stringContains (refused.Header "X-Kedge-Error") "certificate is rejected" "the reason"
                        Expect.isEmpty http.Received "nothing was sent"

                        let! error = failure<Grpc.Core.RpcException> "gRPC" (fun () -> called kedge)
                        Expect.stringContains error.Status.Detail "certificate is rejected" "the reason, by gRPC"

                        scratch.Write("ca.crt", File.ReadAllText Certificates.authority.Value.File)
                        |> ignore

                        let! answer = asked kedge
                        Expect.equal (answer.Status, answer.Body) (200, "secure") (answer.Header "X-Kedge-Error")
                        let got = http.Received |> Array.exactlyOne
                        Expect.equal got.ClientCertificate client.Certificate.Subject "client certificate"

                        Expect.equal
                            (got.Protocol, got.Header "Host")
                            ("HTTP/2", "secure.example")
                            "by ALPN, with the caller's host"

                        let! reply = called kedge
                        Expect.equal (reply.Text, reply.Authority) ("x", "secure.example") "gRPC"
                    })

            case "min_version refuses a backend that speaks only an older version" (fun () ->
                task {
                    let identity = Certificates.authority.Value.ServerFor [ "127.0.0.1" ]

                    use listener = new Net.Sockets.TcpListener(Net.IPAddress.Loopback, 0)
                    listener.Start()
                    let port = (listener.LocalEndpoint :?> Net.IPEndPoint).Port

                    // Answers each connection once, in TLS 1.2.
                    let serve () =
                        task {
                            while true do
                                use! client = listener.AcceptTcpClientAsync()
                                use tls = new SslStream(client.GetStream())

                                try
                                    do!
                                        tls.AuthenticateAsServerAsync(
                                            SslServerAuthenticationOptions(
                                                ServerCertificate = identity.Certificate,
                                                EnabledSslProtocols = SslProtocols.Tls12
                                            )
                                        )

                                    let! _ = tls.ReadAsync(Memory(Array.zeroCreate<byte> 4096))

                                    do!
                                        tls.WriteAsync(
                                            ReadOnlyMemory(
                                                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold"B
                                            )
                                        )
                                with
                                | :? AuthenticationException
                                | :? IOException -> ()
                        }

                    serve () |> ignore
                    let caFile = Certificates.authority.Value.File
                    let security = """{ "config_name": "internal" }"""
                    use! any = start port port security (config caFile "")
                    let! answer = asked any
                    Expect.equal (answer.Status, answer.Body) (200, "old") (answer.Header "X-Kedge-Error")

                    use! strict = start port port security (config caFile ", \"min_version\": \"1.3\"")

                    let! refused = asked strict
                    Expect.equal refused.Status 502 "refused"
                })

            case "the name in the certificate must be the backend's, or server_name" (fun () ->
                task {
                    let http, grpc = secure [ "svc.internal" ]
                    use http = http
                    use grpc = grpc
                    let caFile = Certificates.authority.Value.File

                    use! strict =
                        start http.Port grpc.Port """{ "config_name": "internal" }""" (config caFile "")

                    let! refused = asked strict
                    Expect.equal refused.Status 502 "refused"
                    Expect.stringContains (refused.Header "X-Kedge-Error") "a different name" "the reason"

                    use! named =
                        start
                            http.Port
                            grpc.Port
                            """{ "config_name": "internal" }"""
                            (config caFile """, "server_name": "svc.internal" """)

                    let! answer = asked named
                    Expect.equal answer.Status 200 (answer.Header "X-Kedge-Error")
                    let! reply = called named
                    Expect.equal reply.Text "x" "gRPC"
                })

            case "without config_name the system's roots decide; insecure_skip_verify asks nobody" (fun () ->
                task {
                    let http, grpc = secure [ "127.0.0.1" ]
                    use http = http
                    use grpc = grpc
                    use! system = start http.Port grpc.Port "{}" ""
                    let! refused = asked system
                    Expect.equal refused.Status 502 "the tests' CA is no system root"
                    use! trusting = start http.Port grpc.Port """{ "insecure_skip_verify": true }""" ""
                    let! answer = asked trusting
                    Expect.equal answer.Status 200 (answer.Header "X-Kedge-Error")
                    let! reply = called trusting
                    Expect.equal reply.Text "x" "gRPC"
                })

            case "a CA file that is not there is named in the log, and is picked up when it comes" (fun () ->
                task {
                    let http, grpc = secure [ "127.0.0.1" ]
                    use http = http
                    use grpc = grpc
                    use scratch = new Scratch()

                    use! kedge =
                        start
                            http.Port
                            grpc.Port
                            """{ "config_name": "internal" }"""
                            (config (scratch.File "late.crt") "")

                    let! refused = asked kedge
                    Expect.equal refused.Status 502 "refused"
                    Expect.stringContains (refused.Header "X-Kedge-Error") "CA file" "the reason"

                    scratch.Write("late.crt", File.ReadAllText Certificates.authority.Value.File)
                    |> ignore

                    let! answer = asked kedge
                    Expect.equal answer.Status 200 (answer.Header "X-Kedge-Error")
                })
        ]
