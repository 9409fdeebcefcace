/// `--server_max_connection_age`: connections of callers end in good order when they are old.
module Kedge.Tests.EndToEnd.ConnectionAgeTests

open System.IO
open System.Net.Http
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private flags (grace: string) =
    [
        "--server_max_connection_age=1500ms"
        $"--server_max_connection_age_grace={grace}"
    ]

/// Sends one request after the other until kedge has accepted four connections; none may fail.
let private survives (client: int -> Identity option -> HttpClient) =
    task {
        use peer = new HttpPeer "web"
        use! kedge = serving "web" peer.Port (flags "30s")
        use client = client kedge.HttpsPort None

        // A request that crosses GOAWAY has not been processed and may be sent again (RFC 9113, 6.8). The client does so
        // itself, unless it sees the end of the connection first.
        let send () =
            task {
                try
                    return! client.GetAsync "https://web.example/"
                with :? HttpRequestException as e when
                    (match e.InnerException with
                     | :? HttpProtocolException as error -> error.ErrorCode = 0L
                     | _ -> false) ->
                    return! client.GetAsync "https://web.example/"
            }

        let connections () =
            task {
                use! response = send ()
                Expect.equal (int response.StatusCode) 200 "each request"

                return!
                    DebugPort.metric kedge "net_conntrack_listener_conn_accepted_total" [ "listener_name", "http_tls" ]
            }

        do! soon patience "four connections" connections (fun count -> count >= 4.0)

        let! aged =
            DebugPort.metric kedge "kedge_connections_aged_total" [ "listener_name", "http_tls" ]

        Expect.isGreaterThanOrEqual aged 3.0 "the metric"
    }

[<Tests>]
let tests =
    testList
        "connection age"
        [
            // Between two requests, or with a response that says so.
            case "an HTTP/1.1 connection ends; no request fails" (fun () -> survives Clients.http1)

            case "an HTTP/2 connection gets GOAWAY; no request fails" (fun () -> survives Clients.http2)

            case "a stream has the grace, and no longer" (fun () ->
                task {
                    use peer = new GrpcPeer "rpc"

                    use! kedge =
                        Kedge.Start(
                            Json.director [] [ Json.grpcRoute "rpc" "rpc.example" ],
                            Json.pool [] [ Json.backend "rpc" peer.Port ],
                            flags "3s"
                        )

                    use channel = Clients.grpc kedge.GrpcPort None "rpc.example"
                    use call = Echo.EchoClient(channel).Bidi()

                    let exchange () =
                        task {
                            do! call.RequestStream.WriteAsync(EchoRequest(Text = "hi"))
                            return! call.ResponseStream.MoveNext()
                        }

                    let! first = exchange ()
                    Expect.isTrue first "before"

                    let aged () =
                        DebugPort.metric kedge "kedge_connections_aged_total" [ "listener_name", "grpc_tls" ]

                    do! soon patience "the connection is old" aged (fun count -> count >= 1.0)
                    let! second = exchange ()
                    Expect.isTrue second "within the grace"

                    let untilCut () =
                        task {
                            let mutable isCut = false

                            while not isCut do
                                try
                                    let! _ = exchange ()
                                    do! Task.Delay 20
                                with
                                | :? RpcException
                                | :? IOException -> isCut <- true
                        }

                    do! within "the stream is cut" (untilCut ())
                })
        ]
