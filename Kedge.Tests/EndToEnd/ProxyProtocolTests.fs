/// `--server_proxy_protocol_from`: load balancers say in a PROXY header whose connections they forward.
module Kedge.Tests.EndToEnd.ProxyProtocolTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open Expecto
open Grpc.Net.Client
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private v1 =
    Encoding.Latin1.GetBytes "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n"

let private v2 (command: byte) (family: byte) (block: byte list) =
    Array.concat
        [
            Encoding.Latin1.GetBytes "\r\n\r\n\000\r\nQUIT\n"
            [| command; family; byte (block.Length / 256); byte block.Length |]
            List.toArray block
        ]

let private addresses =
    [ 203uy; 0uy; 113uy; 7uy; 192uy; 0uy; 2uy; 1uy; 0x12uy; 0x67uy; 1uy; 0xbbuy ]

let private v2OverTcp4 = v2 0x21uy 0x11uy (addresses @ List.replicate 300 0xeauy)

let private v2OverTcp6 =
    v2
        0x21uy
        0x21uy
        (List.ofArray (IPAddress.Parse("2001:db8::7").GetAddressBytes())
         @ List.replicate 20 1uy)

let private local = v2 0x20uy 0uy []

/// Connects to a port and writes these bytes before anything else, in pieces of this size.
let private connect (port: int) (preface: byte array) (piece: int) : Task<NetworkStream> =
    task {
        let socket =
            new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

        do! socket.ConnectAsync(IPEndPoint(IPAddress.Loopback, port))
        let stream = new NetworkStream(socket, true)

        for part in Array.chunkBySize piece preface do
            do! stream.WriteAsync(part, 0, part.Length)
            do! stream.FlushAsync()

        return stream
    }

let private handler (port: int) (preface: byte array) =
    let handler = Clients.handler port None

    handler.ConnectCallback <-
        fun _ _ ->
            ValueTask<Stream>(
                task {
                    let! stream = connect port preface 7
                    return stream :> Stream
                }
            )

    handler

let private client (version: Version) (port: int) (preface: byte array) =
    new HttpClient(
        handler port preface,
        DefaultRequestVersion = version,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Timeout = patience
    )

let private plainPort = lazy Ports.free ()

let private start (flags: string list) =
    Kedge.Start(
        Json.director
            [
                """{ "backend_name": "alpha", "host_matcher": "alpha.example", "listener": "ANY" }"""
            ]
            [ Json.grpcRoute "echo" "echo.example" ],
        Json.pool [ Json.backend "alpha" alpha.Value.Port ] [ Json.backend "echo" echo.Value.Port ],
        $"--server_http_plain_port={plainPort.Value}" :: flags
    )

let private counted (kedge: Kedge) (result: string) =
    DebugPort.metric kedge "kedge_proxy_protocol_connections_total" [ "result", result ]

/// The `X-Forwarded-For` that the backend sees.
let private seen (client: HttpClient) (scheme: string) =
    task {
        let path = $"/{Guid.NewGuid()}"
        use client = client

        let! answer =
            get client ($"{scheme}://alpha.example" + path) [ "X-Forwarded-For", "6.6.6.6" ]

        Expect.equal answer.Status 200 "status"
        return (alpha.Value.One path).Header "X-Forwarded-For"
    }

/// Whether kedge closes the connection without a byte.
let private closes (port: int) (bytes: byte array) =
    task {
        use! stream = connect port bytes bytes.Length
        let! answer = within "the end of the connection" (RawPeer.ReadToEnd stream)
        Expect.equal answer "" "no answer"
    }

let private ports (kedge: Kedge) = [ "https", kedge.HttpsPort; "grpc", kedge.GrpcPort; "plain", plainPort.Value ]

[<Tests>]
let tests =
    // All use the same plain port.
    testSequencedGroup "PROXY protocol"
    <| testList
        "PROXY protocol"
        [
            case "the source of a header is the caller's address, on every listener and over each protocol" (fun () ->
                task {
                    use! kedge = start [ "--server_proxy_protocol_from=127.0.0.1" ]

                    for name, preface, expected in
                        [
                            "v1", v1, "203.0.113.7"
                            "v2", v2OverTcp4, "203.0.113.7"
                            "v2 over IPv6", v2OverTcp6, "2001:db8::7"
                            "local", local, "127.0.0.1"
                            "unknown", Encoding.Latin1.GetBytes "PROXY UNKNOWN what ever\r\n", "127.0.0.1"
                        ] do
                        for version in [ HttpVersion.Version11; HttpVersion.Version20 ] do
                            let! overTls = seen (client version kedge.HttpsPort preface) "https"
                            Expect.equal overTls expected $"{name}, TLS, {version}"
                            let! clear = seen (client version plainPort.Value preface) "http"
                            Expect.equal clear expected $"{name}, clear, {version}"

                        for port in [ kedge.GrpcPort; kedge.HttpsPort ] do
                            use channel =
                                GrpcChannel.ForAddress(
                                    "https://echo.example",
                                    GrpcChannelOptions(HttpHandler = handler port preface, DisposeHttpClient = true)
                                )

                            let! reply =
                                Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = name)).ResponseAsync

                            Expect.equal reply.Metadata["x-forwarded-for"] expected $"{name}, gRPC"

                    for result, count in [ "v1", 6.0; "v2", 12.0; "local", 12.0; "malformed", 0.0; "missing", 0.0 ] do
                        let! value = counted kedge result
                        Expect.equal value count result
                })

            case "trusted proxies are judged by the source, not by the load balancer" (fun () ->
                task {
                    use! kedge =
                        start
                            [
                                "--server_proxy_protocol_from=127.0.0.0/8"
                                "--trusted_proxies=203.0.113.0/24"
                            ]

                    let! trusted = seen (client HttpVersion.Version11 kedge.HttpsPort v1) "https"
                    Expect.equal trusted "6.6.6.6, 203.0.113.7" "trusted"
                    let! other = seen (client HttpVersion.Version11 kedge.HttpsPort v2OverTcp6) "https"
                    Expect.equal other "2001:db8::7" "another"
                })

            case "without a header, or with a bad one, the connection ends" (fun () ->
                task {
                    use! kedge = start [ "--server_proxy_protocol_from=127.0.0.1" ]

                    for name, port in ports kedge do
                        let! missing = counted kedge "missing"
                        do! closes port (Encoding.Latin1.GetBytes "GET / HTTP/1.1\r\nHost: alpha.example\r\n\r\n")
                        do! closes port [| 0x16uy; 3uy; 1uy; 0uy; 5uy |]
                        let! now = counted kedge "missing"
                        Expect.equal now (missing + 2.0) $"missing on {name}"
                        let! malformed = counted kedge "malformed"
                        do! closes port (Encoding.Latin1.GetBytes "PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n")
                        do! closes port (v2 0x21uy 0x12uy addresses)
                        do! closes port (v2 0x21uy 0x11uy (List.replicate 5000 0uy))
                        do! closes port (Encoding.Latin1.GetBytes("PROXY UNKNOWN " + String('x', 200)))
                        let! now = counted kedge "malformed"
                        Expect.equal now (malformed + 4.0) $"malformed on {name}"

                    let! after = seen (client HttpVersion.Version20 kedge.HttpsPort v1) "https"
                    Expect.equal after "203.0.113.7" "others are served"
                })

            case "from elsewhere, a header is refused and everything else is served" (fun () ->
                task {
                    use! kedge = start [ "--server_proxy_protocol_from=10.0.0.0/8,127.0.0.2" ]

                    for name, port in ports kedge do
                        let! before = counted kedge "unexpected"
                        do! closes port v1
                        do! closes port v2OverTcp4
                        do! closes port local
                        let! now = counted kedge "unexpected"
                        Expect.equal now (before + 3.0) name

                    let! overTls = seen (Clients.http2 kedge.HttpsPort None) "https"
                    Expect.equal overTls "127.0.0.1" "TLS"
                    let! clear = seen (client HttpVersion.Version11 plainPort.Value [||]) "http"
                    Expect.equal clear "127.0.0.1" "clear"
                })

            case "a header has as long as other headers" (fun () ->
                task {
                    use! kedge =
                        start [ "--server_proxy_protocol_from=127.0.0.1"; "--server_header_timeout=2s" ]

                    let! _ =
                        Task.WhenAll
                            [
                                for _, port in ports kedge do
                                    closes port (v1[..9])
                                    closes port [| 13uy |]
                            ]

                    let! malformed = counted kedge "malformed"
                    Expect.equal malformed 6.0 "cut headers"
                    use! silent = connect kedge.HttpsPort [||] 1
                    let! answer = within "the end of the connection" (RawPeer.ReadToEnd silent)
                    Expect.equal answer "" "no answer"
                    let! missing = counted kedge "missing"
                    Expect.equal missing 1.0 "nothing at all"

                    // What checks whether the port is open is not a fault.
                    let! check = connect kedge.HttpsPort [||] 1
                    check.Dispose()
                    do! closes kedge.HttpsPort (v1[..9])
                    let! missing = counted kedge "missing"
                    Expect.equal missing 1.0 "a check of the port"
                })

            case "the log names the source where a handshake fails" (fun () ->
                task {
                    use! kedge = start [ "--server_proxy_protocol_from=127.0.0.1" ]
                    use! stream = connect kedge.HttpsPort (Array.append v1 "GET / HTTP/1.1\r\n\r\n"B) 100
                    let! _ = within "the end of the connection" (RawPeer.ReadToEnd stream)

                    do!
                        eventually "the line" (fun () ->
                            kedge.Program.Stderr
                            |> Array.exists (fun line ->
                                line.Contains("203.0.113.7:4711", StringComparison.Ordinal)
                                && line.Contains("not_tls", StringComparison.Ordinal)))
                })

            case "the debug port takes no header" (fun () ->
                task {
                    use! kedge = start [ "--server_proxy_protocol_from=127.0.0.1" ]

                    use! stream =
                        connect kedge.DebugPort (Array.append v1 "GET /healthz HTTP/1.1\r\n\r\n"B) 100

                    let! answer = within "the end of the connection" (RawPeer.ReadToEnd stream)
                    Expect.stringStarts answer "HTTP/1.1 400" "a request that nobody can read"
                    let! answer = DebugPort.text kedge "/metrics"
                    Expect.stringContains answer "kedge_proxy_protocol_connections_total" "and it answers"
                })
        ]
