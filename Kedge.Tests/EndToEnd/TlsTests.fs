module Kedge.Tests.EndToEnd.TlsTests

open System.IO
open System.Net.Http
open System.Net.Security
open System.Net.Sockets
open System.Security.Authentication
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private certified (flags: string list) =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.director [ Json.httpRoute "alpha" "alpha.example" ] [ Json.grpcRoute "echo" "echo.example" ],
                Json.pool [ Json.backend "alpha" alpha.Value.Port ] [ Json.backend "echo" echo.Value.Port ],
                $"--server_tls_client_ca_files={Certificates.authority.Value.File}" :: flags
            )
            .GetAwaiter()
            .GetResult())

let private required = certified []
let private optional = certified [ "--server_tls_client_cert_required=false" ]

let private bad () =
    [
        "expired", Certificates.authority.Value.ExpiredClient()
        "of another CA", Certificates.stranger.Value.Client "client"
        "not for client authentication", Certificates.authority.Value.NotForClients()
    ]

let private passes (kedge: Kedge) identity =
    task {
        for version, client in
            [
                "HTTP/1.1", Clients.http1 kedge.HttpsPort identity
                "HTTP/2", Clients.http2 kedge.HttpsPort identity
            ] do
            use client = client
            let! answer = get client "https://alpha.example/" []
            Expect.equal (answer.Status, answer.Body) (200, "alpha") version

        for port in [ kedge.GrpcPort; kedge.HttpsPort ] do
            use channel = Clients.grpc port identity "echo.example:443"
            let! reply = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"))
            Expect.equal reply.Text "x" "gRPC"
    }

let private isRefused (kedge: Kedge) identity what =
    task {
        for client in
            [
                Clients.http1 kedge.HttpsPort identity
                Clients.http2 kedge.HttpsPort identity
            ] do
            use client = client

            let! _ =
                failure<HttpRequestException> what (fun () -> client.GetAsync "https://alpha.example/refused")

            ()

        for port in [ kedge.GrpcPort; kedge.HttpsPort ] do
            use channel = Clients.grpc port identity "echo.example:443"

            let! error =
                failure<RpcException> what (fun () -> Echo.EchoClient(channel).UnaryAsync(EchoRequest()).ResponseAsync)

            // In TLS 1.3 the client learns of the refusal only after its own handshake is done: whether the call then failed
            // to start or broke off is a matter of time.
            Expect.contains [ StatusCode.Unavailable; StatusCode.Internal ] error.StatusCode what
            Expect.isNotNull error.Status.DebugException "a failure of the connection"
            Expect.isNull (error.Trailers.GetValue "x-kedge-request-id") "not an answer of kedge"
    }

[<Tests>]
let clientCertificates =
    testList
        "client certificates"
        [
            case "required: a valid one passes on every port" (fun () ->
                passes required.Value (Some Certificates.client.Value))

            case "required: without one the handshake fails" (fun () -> isRefused required.Value None "no certificate")

            case "required: an invalid one is refused" (fun () ->
                task {
                    for what, identity in bad () do
                        do! isRefused required.Value (Some identity) what

                    Expect.isEmpty (alpha.Value.ReceivedOn "/refused") "nothing reached the backend"
                })

            case "optional: without one, and with a valid one, requests pass" (fun () ->
                task {
                    do! passes optional.Value None
                    do! passes optional.Value (Some Certificates.client.Value)
                })

            case "optional: one that is sent must be valid" (fun () ->
                task {
                    for what, identity in bad () do
                        do! isRefused optional.Value (Some identity) what
                })
        ]

[<Tests>]
let protocols =
    let negotiate (port: int) (versions: SslProtocols) (offered: SslApplicationProtocol list) =
        task {
            use client = new TcpClient()
            do! client.ConnectAsync("127.0.0.1", port)
            use stream = new SslStream(client.GetStream())

            do!
                stream.AuthenticateAsClientAsync(
                    SslClientAuthenticationOptions(
                        TargetHost = "localhost",
                        EnabledSslProtocols = versions,
                        ApplicationProtocols = System.Collections.Generic.List offered,
                        RemoteCertificateValidationCallback =
                            // The name counts here: the client asked for localhost.
                            fun _ certificate _ errors ->
                                not (errors.HasFlag SslPolicyErrors.RemoteCertificateNameMismatch)
                                && not (isNull certificate)
                    )
                )

            return stream.SslProtocol, string stream.NegotiatedApplicationProtocol
        }

    testList
        "TLS"
        [
            case "1.2 and 1.3 are spoken on both ports" (fun () ->
                task {
                    for port in [ kedge.Value.HttpsPort; kedge.Value.GrpcPort ] do
                        for version in [ SslProtocols.Tls12; SslProtocols.Tls13 ] do
                            let! spoken, _ = negotiate port version [ SslApplicationProtocol.Http2 ]
                            Expect.equal spoken version "version"
                })

            case "ALPN: h2 and http/1.1 on the HTTPS port, only h2 on the gRPC port" (fun () ->
                task {
                    let both = [ SslApplicationProtocol.Http11; SslApplicationProtocol.Http2 ]
                    let any = SslProtocols.None
                    let! _, http = negotiate kedge.Value.HttpsPort any both
                    Expect.equal http "h2" "HTTPS, both offered"
                    let! _, old = negotiate kedge.Value.HttpsPort any [ SslApplicationProtocol.Http11 ]
                    Expect.equal old "http/1.1" "HTTPS, the old one offered"
                    let! _, grpc = negotiate kedge.Value.GrpcPort any both
                    Expect.equal grpc "h2" "gRPC"
                })

            case "clear text on a TLS port is no way in" (fun () ->
                task {
                    for port in [ kedge.Value.HttpsPort; kedge.Value.GrpcPort ] do
                        use client = new TcpClient()
                        do! client.ConnectAsync("127.0.0.1", port)
                        let stream = client.GetStream()
                        do! RawPeer.Write(stream, "GET / HTTP/1.1\r\nHost: alpha.example\r\n\r\n")

                        let! count =
                            task {
                                try
                                    return! within "the end" (stream.ReadAsync(Array.zeroCreate<byte> 100, 0, 100))
                                with :? IOException ->
                                    return 0
                            }

                        // Perhaps a TLS alert (record type 21), never an HTTP answer.
                        Expect.isLessThan count 10 "bytes"
                })
        ]
