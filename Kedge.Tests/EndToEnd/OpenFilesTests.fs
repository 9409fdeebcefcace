/// A limit on open files: callers that open connections and send nothing do not keep others out, and end nothing.
module Kedge.Tests.EndToEnd.OpenFilesTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http

let private start (openFiles: int) (http: HttpPeer) (flags: string list) =
    Kedge.Start
        { Kedge.Defaults with
            Director = Json.director [ Json.httpRoute "alpha" "alpha.example" ] [ Json.grpcRoute "echo" "echo.example" ]
            BackendPool = Json.pool [ Json.backend "alpha" http.Port ] [ Json.backend "echo" echo.Value.Port ]
            Flags = flags
            OpenFiles = openFiles
        }

/// Opens TCP connections, on which it sends nothing, until disposed; one that is closed by the server is replaced.
type Flood(port: int, count: int) =
    let stop = new CancellationTokenSource()
    let mutable opened = 0

    let hold () : Task =
        task {
            while not stop.IsCancellationRequested do
                use socket =
                    new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                try
                    do! socket.ConnectAsync(IPEndPoint(IPAddress.Loopback, port), stop.Token)
                    Interlocked.Increment &opened |> ignore
                    let! _ = socket.ReceiveAsync(Array.zeroCreate<byte>(1).AsMemory(), stop.Token)
                    do! Task.Delay 50
                with
                | :? SocketException -> do! Task.Delay 50 // The pace of the attack.
                | :? OperationCanceledException -> ()
        }

    let mutable disposed = 0
    let holding = [ for _ in 1..count -> hold () ]

    /// So far.
    member _.Opened = Volatile.Read &opened

    interface IDisposable with
        member _.Dispose() =
            if Interlocked.Exchange(&disposed, 1) = 0 then
                stop.Cancel()
                Task.WaitAll(Array.ofList holding)
                stop.Dispose()

/// New connections over all protocols, a page and a reload.
let private isServed (kedge: Kedge) (what: string) =
    task {
        for version, client in
            [
                "HTTP/1.1", Clients.http1 kedge.HttpsPort None
                "HTTP/2", Clients.http2 kedge.HttpsPort None
            ] do
            use client = client
            let! answer = get client "https://alpha.example/" []
            Expect.equal (answer.Status, answer.Body) (200, "alpha") $"{what}: {version}"

        use channel = Clients.grpc kedge.GrpcPort None "echo.example:443"
        let! reply = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"))
        Expect.equal reply.Text "x" $"{what}: gRPC"
        let! health = DebugPort.text kedge "/_healthz"
        Expect.isNotEmpty health $"{what}: health"
    }

/// Has the peer answer requests for /slow only after the result is set.
let private answersLate (peer: HttpPeer) =
    let goOn = TaskCompletionSource()

    peer.On(
        "/slow",
        fun context ->
            task {
                do! goOn.Task
                do! context.Response.WriteAsync "slow"
            }
    )

    goOn

let private delays (kedge: Kedge) =
    kedge.Program.Stderr
    |> Array.filter _.Contains("accepting connections is delayed")
    |> Array.length

[<Tests>]
let tests =
    testSequenced
    <| testList
        "open files"
        [
            for limit in [ 384; 512; 1024 ] do
                case
                    $"{limit} open files: idle connections without end leave others served, and the process alive"
                    (fun () ->
                        task {
                            use! kedge = start limit alpha.Value []
                            use flood = new Flood(kedge.HttpsPort, limit)
                            use grpcFlood = new Flood(kedge.GrpcPort, limit)
                            do! eventually "the flood" (fun () -> flood.Opened + grpcFlood.Opened > 2 * limit)

                            for i in 1..5 do
                                do! isServed kedge $"round {i}"

                            File.WriteAllText(
                                kedge.DirectorFile,
                                Json.director
                                    [ Json.httpRoute "alpha" "alpha.example"; Json.httpRoute "alpha" "new.example" ]
                                    [ Json.grpcRoute "echo" "echo.example" ]
                            )

                            use client = Clients.http2 kedge.HttpsPort None

                            do!
                                soon
                                    patience
                                    "a reload"
                                    (fun () ->
                                        task {
                                            let! answer = get client "https://new.example/" []
                                            return answer.Status
                                        })
                                    (fun status -> status = 200)

                            let! bound = DebugPort.metric kedge "kedge_connections_limit" []
                            let! evicted = DebugPort.metric kedge "kedge_connections_evicted_total" []
                            Expect.isLessThan bound (float limit) "the bound is below the limit"

                            // One that was just accepted counts beside the one that makes room for it.
                            do!
                                soon
                                    patience
                                    "open connections"
                                    (fun () -> DebugPort.metric kedge "kedge_connections_open" [])
                                    (fun opened -> opened <= bound)

                            Expect.isGreaterThan evicted 0.0 "idle ones made room"
                            Expect.isLessThanOrEqual kedge.Program.OpenFiles limit "files"
                            Expect.equal (delays kedge) 1 "lines about it"

                            Expect.stringContains
                                kedge.Program.Output
                                $"the limit of {limit} open files"
                                "at the start"

                            (flood :> IDisposable).Dispose()
                            (grpcFlood :> IDisposable).Dispose()
                            do! isServed kedge "afterwards"
                        })

            case
                "connections with a request in flight are never closed to make room; a new one waits for its turn"
                (fun () ->
                    task {
                        use peer = new HttpPeer "slow"
                        let goOn = answersLate peer

                        use! kedge = start 384 peer []
                        let! bound = DebugPort.metric kedge "kedge_connections_limit" []

                        let request =
                            "GET /slow HTTP/1.1\r\nHost: alpha.example\r\nConnection: close\r\n\r\n"

                        let! clients =
                            Task.WhenAll
                                [
                                    for _ in 1 .. int bound ->
                                        task {
                                            let! client = RawClient.Connect kedge.HttpsPort
                                            do! client.Write request
                                            return client
                                        }
                                ]

                        do! eventually "all requests at the backend" (fun () -> peer.Received.Length = int bound)

                        let another =
                            task {
                                use client = Clients.http1 kedge.HttpsPort None
                                return! get client "https://alpha.example/" []
                            }

                        do! eventually "a line that says so" (fun () -> delays kedge = 1)

                        do!
                            Absence.during (TimeSpan.FromSeconds 1.0) "an answer without room" (fun () ->
                                Task.FromResult another.IsCompleted)

                        goOn.SetResult()

                        for client in clients do
                            let! answer = client.ReadToEnd()
                            Expect.stringContains answer "slow" "the answer"
                            (client :> IDisposable).Dispose()

                        let! answer = within "the one that waited" another
                        Expect.equal answer.Status 200 "the one that waited"
                        let! evicted = DebugPort.metric kedge "kedge_connections_evicted_total" []
                        Expect.equal evicted 0.0 "none was closed"
                    })

            case "requests that would take more connections to backends than there are files for get 503" (fun () ->
                task {
                    use peer = new HttpPeer "alpha"
                    let goOn = answersLate peer

                    use! kedge =
                        start 512 peer [ "--backend_max_wait=1s"; "--server_http_max_write_timeout=60s" ]

                    use client = Clients.http2 kedge.HttpsPort None
                    use other = Clients.http2 kedge.HttpsPort None

                    let answers =
                        [ for _ in 1..200 -> get client "https://alpha.example/slow" [] ]
                        @ [ for _ in 1..200 -> get other "https://alpha.example/slow" [] ]

                    do!
                        eventually "an answer to each request but those at the backend" (fun () ->
                            let answered = answers |> List.filter _.IsCompleted |> List.length
                            answered > 100 && answered + peer.Received.Length = 400)

                    let! health = DebugPort.text kedge "/_healthz"
                    Expect.isNotEmpty health "health"
                    goOn.SetResult()
                    let! answers = Task.WhenAll answers
                    let statuses = answers |> Array.countBy _.Status |> Array.sort
                    Expect.equal (Array.map fst statuses) [| 200; 503 |] "statuses"
                    do! isServed kedge "afterwards"
                })

            case "the debug port has a bound of its own, and answers beyond it" (fun () ->
                task {
                    use! kedge = start 384 alpha.Value []
                    use _ = new Flood(kedge.DebugPort, 200)
                    do! isServed kedge "under a flood of the debug port"
                })

            case "a limit that is too low ends the start with exit code 2" (fun () ->
                task {
                    use program =
                        new KedgeProgram(
                            [
                                "--kedge_config_director_config={}"
                                "--kedge_config_backendpool_config={}"
                                "--server_http_port=0"
                            ],
                            Executable.root,
                            [],
                            true,
                            300
                        )

                    let! code = program.Exit()
                    Expect.equal code 2 "exit code"
                    Expect.stringContains program.Output "the limit on open files (ulimit -n) is 300" "the reason"
                })
        ]

[<Tests>]
let signals =
    testList
        "signals without a meaning"
        [
            case "SIGUSR1 and SIGUSR2 end nothing; SIGHUP during the start ends nothing either" (fun () ->
                task {
                    use! kedge = start 0 alpha.Value []

                    for signal in [ 10; 12 ] do
                        kedge.Program.Signal(enum<PosixSignal> signal)

                    do! isServed kedge "after the signals"
                    Expect.isFalse kedge.Program.HasExited "running"
                    kedge.Program.Signal PosixSignal.SIGTERM
                    let! code = kedge.Program.Exit()
                    Expect.equal code 0 "SIGTERM still ends it"
                })
        ]
