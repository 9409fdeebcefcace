module Kedge.Tests.EndToEnd.ShutdownTests

open System
open System.Net
open System.Net.Http
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http

let private signal () = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

/// The status of the health page; 0 when nobody answers.
let private health (kedge: Kedge) =
    use client = new HttpClient()

    try
        int (client.GetAsync(kedge.DebugUrl "/_healthz").GetAwaiter().GetResult().StatusCode)
    with :? HttpRequestException ->
        0

let private accepts (port: int) =
    use client = new Sockets.TcpClient()

    try
        client.Connect("127.0.0.1", port)
        true
    with :? Sockets.SocketException ->
        false

/// A kedge with an HTTP and a gRPC backend of that name, whose host is `name.example`.
let private start (name: string) (http: HttpPeer) (grpc: GrpcPeer) (flag: string) =
    let host = $"{name}.example"

    Kedge.Start(
        Json.director [ Json.httpRoute name host ] [ Json.grpcRoute name host ],
        Json.pool [ Json.backend name http.Port ] [ Json.backend name grpc.Port ],
        [ flag ]
    )

[<Tests>]
let tests =
    testList
        "shutdown"
        [
            case "SIGTERM: health fails, no new connections, exchanges in flight finish, exit code 0" (fun () ->
                task {
                    use peer = new HttpPeer "drained"
                    use echo = new GrpcPeer "drained-grpc"
                    let entered = signal ()
                    let release = signal ()

                    peer.On(
                        "/slow",
                        fun context ->
                            task {
                                entered.SetResult()
                                do! release.Task
                                do! context.Response.WriteAsync "finished"
                            }
                    )

                    use! kedge = start "drained" peer echo "--server_sigterm_timeout=20s"

                    use client = Clients.http1 kedge.HttpsPort None
                    let slow = get client "https://drained.example/slow" []
                    use channel = Clients.grpc kedge.GrpcPort None "drained.example:443"
                    use call = Echo.EchoClient(channel).Bidi()
                    do! call.RequestStream.WriteAsync(EchoRequest(Text = "before"))

                    let! _ =
                        within "the first reply" (call.ResponseStream.MoveNext Threading.CancellationToken.None)

                    do! finishes "the slow request" entered.Task
                    kedge.Program.Signal PosixSignal.SIGTERM
                    do! eventually "health failing" (fun () -> health kedge = 503)

                    do!
                        eventually "closed proxy ports" (fun () ->
                            not (accepts kedge.HttpsPort) && not (accepts kedge.GrpcPort))

                    Expect.isFalse kedge.Program.HasExited "waits for what is in flight"
                    Expect.equal (health kedge) 503 "the debug port answers to the end"
                    do! call.RequestStream.WriteAsync(EchoRequest(Text = "during"))

                    let! more =
                        within "the second reply" (call.ResponseStream.MoveNext Threading.CancellationToken.None)

                    Expect.isTrue more "the stream goes on"
                    Expect.equal call.ResponseStream.Current.Text "during" "reply"
                    do! call.RequestStream.CompleteAsync()
                    let! more = call.ResponseStream.MoveNext Threading.CancellationToken.None
                    Expect.isFalse more "the stream's own end"
                    Expect.equal (call.GetStatus().StatusCode) StatusCode.OK "status"
                    release.SetResult()
                    let! answer = slow
                    Expect.equal (answer.Status, answer.Body) (200, "finished") "the slow answer"
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 kedge.Program.Output
                })

            case "SIGTERM during 100 slow requests and 20 gRPC streams: all are complete, exit code 0" (fun () ->
                task {
                    use peer = new HttpPeer "crowd"
                    use echo = new GrpcPeer "crowd-grpc"
                    let entered = ref 0
                    let release = signal ()

                    peer.On(
                        "/slow",
                        fun context ->
                            task {
                                Threading.Interlocked.Increment entered |> ignore
                                do! release.Task
                                do! context.Response.WriteAsync "finished"
                            }
                    )

                    use! kedge = start "crowd" peer echo "--server_sigterm_timeout=25s"

                    use http1 = Clients.http1 kedge.HttpsPort None
                    use http2 = Clients.http2 kedge.HttpsPort None

                    let slow =
                        [|
                            for client in [ http1; http2 ] do
                                for _ in 1..50 -> get client "https://crowd.example/slow" []
                        |]

                    use channel = Clients.grpc kedge.GrpcPort None "crowd.example:443"
                    let calls = [ for _ in 1..20 -> Echo.EchoClient(channel).Bidi() ]

                    let exchange (call: AsyncDuplexStreamingCall<EchoRequest, EchoReply>) text =
                        task {
                            do! call.RequestStream.WriteAsync(EchoRequest(Text = text))

                            let! more =
                                within text (call.ResponseStream.MoveNext Threading.CancellationToken.None)

                            Expect.equal (more, call.ResponseStream.Current.Text) (true, text) "reply"
                        }

                    for call in calls do
                        do! exchange call "before"

                    do! eventually "100 requests at the backend" (fun () -> entered.Value = 100)
                    kedge.Program.Signal PosixSignal.SIGTERM
                    do! eventually "closed proxy ports" (fun () -> not (accepts kedge.HttpsPort))

                    for call in calls do
                        do! exchange call "during"
                        do! call.RequestStream.CompleteAsync()
                        let! more = call.ResponseStream.MoveNext Threading.CancellationToken.None
                        Expect.equal (more, call.GetStatus().StatusCode) (false, StatusCode.OK) "end"

                    release.SetResult()
                    let! answers = Task.WhenAll slow

                    Expect.all answers (fun answer -> (answer.Status, answer.Body) = (200, "finished")) "complete"
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 kedge.Program.Output

                    for call in calls do
                        call.Dispose()
                })

            case "requests are sent again until half of the drain time is over, and not after that" (fun () ->
                task {
                    use peer = new HttpPeer "retried"
                    let attempts = Collections.Concurrent.ConcurrentDictionary<string, int>()
                    let gates = [ for name in [ "/early"; "/late" ] -> name, signal () ] |> Map

                    for KeyValue(path, gate) in gates do
                        peer.On(
                            path,
                            fun context ->
                                task {
                                    if attempts.AddOrUpdate(path, 1, (fun _ count -> count + 1)) = 1 then
                                        do! gate.Task
                                        context.Response.StatusCode <- 503
                                }
                        )

                    let route =
                        """{ "backend_name": "retried", "host_matcher": "retried.example",
                             "retry": { "attempts": 1, "on": ["503"], "backoff": { "base": "1ms", "max": "1ms" } } }"""

                    use! kedge =
                        Kedge.Start(
                            Json.director [ route ] [],
                            Json.pool [ Json.backend "retried" peer.Port ] [],
                            [ "--server_sigterm_timeout=8s" ]
                        )

                    use client = Clients.http2 kedge.HttpsPort None
                    let early = get client "https://retried.example/early" []
                    let late = get client "https://retried.example/late" []
                    do! eventually "both are there" (fun () -> attempts.Count = 2)
                    kedge.Program.Signal PosixSignal.SIGTERM
                    do! eventually "it drains" (fun () -> health kedge = 503)
                    let draining = DateTime.UtcNow
                    gates["/early"].SetResult()
                    let! answer = within "the first answer" early
                    Expect.equal (answer.Status, attempts["/early"]) (200, 2) "sent again"

                    do!
                        eventually "half of it is over" (fun () ->
                            DateTime.UtcNow - draining > TimeSpan.FromSeconds 4.1)

                    gates["/late"].SetResult()
                    let! answer = within "the other answer" late
                    Expect.equal (answer.Status, attempts["/late"]) (503, 1) "the backend's answer, not sent again"
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 "exit code"
                })

            case "what is left after the drain time is cut, exit code 0" (fun () ->
                task {
                    use hanging = RawPeer.Hanging()

                    use! kedge =
                        serving
                            "hanging"
                            hanging.Port
                            [ "--server_sigterm_timeout=500ms"; "--server_http_max_write_timeout=1h" ]

                    use client = Clients.http1 kedge.HttpsPort None
                    let asked = client.GetAsync "https://hanging.example/"
                    do! eventually "the request at the backend" (fun () -> hanging.Accepted = 1)
                    let before = DateTime.UtcNow
                    kedge.Program.Signal PosixSignal.SIGTERM
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 kedge.Program.Output
                    Expect.isLessThan (DateTime.UtcNow - before) (TimeSpan.FromSeconds 10.0) "about the drain time"

                    try
                        use! answer = asked
                        Expect.isGreaterThanOrEqual (int answer.StatusCode) 500 "cut"
                    with :? HttpRequestException ->
                        ()
                })

            case "with a delay, health fails at once, but the proxy ports close only after it" (fun () ->
                task {
                    use peer = new HttpPeer "delayed"

                    use! kedge =
                        serving "delayed" peer.Port [ "--server_sigterm_delay=6s"; "--server_sigterm_timeout=5s" ]

                    kedge.Program.Signal PosixSignal.SIGTERM
                    do! eventually "health failing" (fun () -> health kedge = 503)
                    use client = Clients.http1 kedge.HttpsPort None
                    let! answer = get client "https://delayed.example/" []
                    Expect.equal (answer.Status, answer.Body) (200, "delayed") "a new connection is served"
                    do! eventually "closed proxy ports" (fun () -> not (accepts kedge.HttpsPort))
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 kedge.Program.Output
                    Expect.stringContains kedge.Program.Output "the proxy ports close in 6s" "the log"
                })

            case "SIGINT with nothing in flight ends at once, exit code 0" (fun () ->
                task {
                    use! kedge = Kedge.Start("{}", "{}", [])
                    kedge.Program.Signal PosixSignal.SIGINT
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 kedge.Program.Output
                })
        ]
