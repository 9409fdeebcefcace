/// Everything at once: callers of every kind, while everything around kedge fails and recovers. A minute as a rule;
/// `KEDGE_CHAOS_MINUTES=60` makes it an hour.
module Kedge.Tests.Kubernetes.ChaosTests

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Net.WebSockets
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes
open Kedge.Tests.Peers

let private length =
    match Environment.GetEnvironmentVariable "KEDGE_CHAOS_MINUTES" with
    | null
    | "" -> TimeSpan.FromMinutes 1.0
    | minutes -> TimeSpan.FromMinutes(float minutes)

/// What callers saw, and when endpoints were killed.
type private Ledger() =
    let good = ConcurrentDictionary<string, int>()
    let failures = ConcurrentQueue<string * int64 * int64 * string>()
    let kills = ConcurrentQueue<int64 * int64>()

    member _.Note(caller: string, started: int64, failure: string) =
        if failure = "" then
            good.AddOrUpdate(caller, 1, (fun _ count -> count + 1)) |> ignore
        else
            failures.Enqueue(caller, started, Stopwatch.GetTimestamp(), failure)

    /// Ends an endpoint. What is in flight meanwhile may fail: it may have been in that endpoint's hands.
    member _.Kill(endpoint: IDisposable) =
        let started = Stopwatch.GetTimestamp()
        endpoint.Dispose()
        kills.Enqueue(started, Stopwatch.GetTimestamp())

    member _.Good(caller: string) =
        (match good.TryGetValue caller with
         | true, count -> count
         | _ -> 0)

    member _.Total = Seq.sum good.Values

    /// Failures of requests that were not in flight when an endpoint was killed.
    member _.Unexcused =
        [
            for caller, started, ended, failure in failures do
                if not (kills |> Seq.exists (fun (first, last) -> started <= last && ended >= first)) then
                    $"{caller}: {failure}"
        ]

/// A caller that sends one request after the other until the end.
let private caller (stop: CancellationToken) (ledger: Ledger) (name: string) (pause: int) (send: unit -> Task<string>) =
    Task.Run<unit>(fun () ->
        task {
            while not stop.IsCancellationRequested do
                let started = Stopwatch.GetTimestamp()

                let! failure =
                    task {
                        try
                            return! send ()
                        with error ->
                            return $"{error.GetType().Name}: {error.GetBaseException().Message}"
                    }

                ledger.Note(name, started, failure)
                do! Task.Delay pause
        })

let private get (client: HttpClient) (url: string) () =
    task {
        use! response = client.GetAsync url
        let! body = response.Content.ReadAsStringAsync()
        let error = Clients.header "X-Kedge-Error" response

        return
            if int response.StatusCode = 200 then
                ""
            else
                $"{int response.StatusCode} {error} {body}"
    }

let private unary (client: Echo.EchoClient) () =
    task {
        let! reply = client.UnaryAsync(EchoRequest(Text = "hi"))
        return if reply.Text = "hi" then "" else reply.Text
    }

/// One message there and back on a WebSocket that stays open from call to call.
type private Talk(port: int) =
    let invoker = new HttpMessageInvoker(Clients.handler port None)
    let mutable socket: ClientWebSocket option = None

    member _.Exchange() : Task<string> =
        task {
            use limit = new CancellationTokenSource(patience)

            try
                let! current =
                    task {
                        match socket with
                        | Some current -> return current
                        | None ->
                            let fresh = new ClientWebSocket()
                            do! fresh.ConnectAsync(Uri "wss://talk.example/ws", invoker, limit.Token)
                            socket <- Some fresh
                            return fresh
                    }

                do! current.SendAsync(ArraySegment "ping"B, WebSocketMessageType.Text, true, limit.Token)
                let buffer = Array.zeroCreate<byte> 16
                let! received = current.ReceiveAsync(ArraySegment buffer, limit.Token)

                return
                    if received.Count = 4 then
                        ""
                    else
                        $"%A{received.MessageType}, {received.Count} bytes"
            with error ->
                socket |> Option.iter _.Dispose()
                socket <- None
                return raise error
        }

    interface IDisposable with
        member _.Dispose() =
            socket |> Option.iter _.Dispose()
            invoker.Dispose()

let private slow (context: HttpContext) : Task =
    task {
        do! Task.Delay 150
        do! context.Response.WriteAsync "slow"
    }

let private cut (context: HttpContext) : Task =
    task {
        context.Response.ContentLength <- 1000L
        do! context.Response.WriteAsync "half"
        do! context.Response.Body.FlushAsync()
        context.Abort()
    }

/// Descriptors of a process.
let private descriptors (kedge: Kedge) = Directory.GetFileSystemEntries($"/proc/{kedge.Program.Id}/fd").Length

let private chaos () =
    task {
        use scratch = new Scratch()
        use api = new ApiServer()
        use dns = new Dns(1)
        let ports = [ for _ in 1..3 -> Ports.free () ]
        let grpcPorts = [ for _ in 1..2 -> Ports.free () ]
        let at port = IPEndPoint(IPAddress.Loopback, port)

        let startWeb index =
            let peer = new HttpPeer($"web{index}", HttpProtocols.Http1, None, at ports[index])
            peer.On("/slow", slow)
            peer.On("/cut", cut)
            peer

        let startRpc index = new GrpcPeer($"rpc{index}", None, at grpcPorts[index])
        let webs = [| for index in 0..2 -> startWeb index |]
        let rpcs = [| for index in 0..1 -> startRpc index |]
        use talk = new HttpPeer "talk"
        talk.OnWebSocketEcho "/ws"

        let records =
            [
                Address("host.test", "127.0.0.1")
                for port in ports do
                    DnsRecord.Service("_web._tcp.test", "host.test", port, 0, 0)
                for port in grpcPorts do
                    DnsRecord.Service("_rpc._tcp.test", "host.test", port, 0, 0)
            ]

        do! dns.Serve records

        api.Play
            [
                Manifest.exposed "default" "found" [ "http", 80, "\"web\"" ]
                for index, port in List.indexed ports do
                    Manifest.slice "default" $"found-{index}" "found" "http" port [ "127.0.0.1", Manifest.ready ]
            ]

        let directorWith (more: string list) =
            Json.director
                [
                    yield! more
                    Json.httpRoute "web" "web.example"
                    Json.httpRoute "talk" "talk.example"
                ]
                [ Json.grpcRoute "rpc" "rpc.example" ]

        let srv name record = $$"""{ "name": "{{name}}", "srv": { "dns_name": "{{record}}" } }"""

        let identity () = Certificates.authority.Value.Server()
        let first = identity ()
        let certificate = scratch.Write("tls.crt", File.ReadAllText first.CertFile)
        let key = scratch.Write("tls.key", File.ReadAllText first.KeyFile)

        use! kedge =
            Kedge.Start(
                directorWith [],
                Json.pool [ srv "web" "_web._tcp.test"; Json.backend "talk" talk.Port ] [ srv "rpc" "_rpc._tcp.test" ],
                [
                    yield! api.DiscoveryFlags
                    $"--dns_nameservers=127.0.0.1:{dns.Port}"
                    $"--server_tls_cert_file={certificate}"
                    $"--server_tls_key_file={key}"
                    "--server_max_connections=250"
                    // A killed endpoint is back soon.
                    "--lbtransport_failed_target_backoff_duration=200ms"
                ]
            )

        let ledger = Ledger()
        use stop = new CancellationTokenSource()
        use http1 = Clients.http1 kedge.HttpsPort None
        use http2 = Clients.http2 kedge.HttpsPort None
        use flooding = Clients.http2 kedge.HttpsPort None
        use channel = Clients.grpc kedge.GrpcPort None "rpc.example"
        let calls = Echo.EchoClient channel
        use talking = new Talk(kedge.HttpsPort)
        do! soon patience "discovered" (get http1 "https://found.ext.example.com/") ((=) "")
        do! soon patience "a call" (unary calls) ((=) "")

        let flood () =
            task {
                let! _ =
                    [ for _ in 1..100 -> get flooding "https://web.example/slow" () ]
                    |> Task.WhenAll
                    |> _.WaitAsync(patience)

                ()
            }

        // What the process is like at work.
        do! flood ()

        let callers =
            [
                for _ in 1..3 do
                    caller stop.Token ledger "http/1.1" 20 (get http1 "https://web.example/")
                    caller stop.Token ledger "http/2" 20 (get http2 "https://web.example/")
                for _ in 1..2 do
                    caller stop.Token ledger "grpc" 20 (unary calls)
                caller stop.Token ledger "slow" 50 (get http2 "https://web.example/slow")
                caller stop.Token ledger "discovered" 20 (get http1 "https://found.ext.example.com/")
                caller stop.Token ledger "websocket" 50 (fun () -> talking.Exchange())
            ]

        do! eventually "every caller is at work" (fun () -> ledger.Total > 1500)
        let memory, files = kedge.Program.ResidentBytes, descriptors kedge

        let killWeb index =
            task {
                ledger.Kill webs[index]
                do! Task.Delay 300
                webs[index] <- startWeb index
            }

        let killRpc () =
            task {
                ledger.Kill rpcs[1]
                do! Task.Delay 300
                rpcs[1] <- startRpc 1
            }

        let cutting () =
            task {
                for _ in 1..20 do
                    try
                        let! _ = get http1 "https://web.example/cut" ()
                        ()
                    with :? HttpRequestException ->
                        ()
            }

        let reload () =
            task {
                File.WriteAllText(kedge.DirectorFile, "{ \"http\": ")
                do! eventually "rejected" (fun () -> kedge.Program.Output.Contains "configuration rejected")

                File.WriteAllText(
                    kedge.DirectorFile,
                    directorWith [ Json.httpRoute "web" $"n{Random.Shared.Next 1000000}.example" ]
                )
            }

        let rotate () =
            task {
                let next = identity ()
                File.WriteAllText(certificate, File.ReadAllText next.CertFile)
                File.WriteAllText(key, File.ReadAllText next.KeyFile)
                // New handshakes, with whichever certificate.
                use fresh = Clients.http1 kedge.HttpsPort None
                let started = Stopwatch.GetTimestamp()
                let! failure = get fresh "https://web.example/" ()
                ledger.Note("handshake", started, failure)
            }

        let nameServer () =
            task {
                dns.Stop()
                do! Task.Delay 2000
                do! dns.Serve records
            }

        let apiServer () =
            task {
                api.Double.Stop()
                do! Task.Delay 1000
                api.Double.Start()
                do! eventually "both watches are up" (fun () -> api.Double.Watches >= 2)
                api.Double.RefuseWith <- 503
                api.Play [ Compact; DropWatches ]
                do! Task.Delay 500
                api.Double.RefuseWith <- 0
                do! eventually "both watches are up again" (fun () -> api.Double.Watches >= 2)
            }

        // Connections that do nothing, up to the limit and beyond.
        let idle () =
            task {
                let sockets =
                    [
                        for _ in 1..300 -> new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
                    ]

                for socket in sockets do
                    do! socket.ConnectAsync(at kedge.HttpsPort)

                do! Task.Delay 500

                for socket in sockets do
                    socket.Dispose()
            }

        let disturbances: (string * (unit -> Task<unit>)) list =
            [
                "an endpoint is killed", (fun () -> killWeb 1)
                "another one", (fun () -> killWeb 2)
                "a gRPC endpoint is killed", killRpc
                "responses are cut", cutting
                "files change", reload
                "the certificate rotates", rotate
                "the name server fails", nameServer
                "the API server fails", apiServer
                "connections do nothing", idle
                "a caller floods", flood
            ]

        let clock = Stopwatch.StartNew()
        let mutable rounds = 0

        // Each at least once, also on a slow machine.
        while rounds = 0 || clock.Elapsed < length do
            for name, disturb in disturbances do
                if rounds = 0 || clock.Elapsed < length then
                    do! within name (disturb ())
                    do! Task.Delay 200

                    if kedge.Program.HasExited then
                        failtestf "kedge ended while %s:\n%s" name kedge.Program.Output

            rounds <- rounds + 1

        let! _ =
            within
                "the callers"
                (stop.Cancel()
                 Task.WhenAll callers)

        Expect.equal ledger.Unexcused [] "requests that failed, though they had a healthy endpoint"

        for name in [ "http/1.1"; "http/2"; "grpc"; "slow"; "discovered"; "websocket"; "handshake" ] do
            Expect.isGreaterThan (ledger.Good name) 0 name

        // The collector needs some work to do before it gives memory back.
        let settled () =
            task {
                for _ in 1..50 do
                    let! _ = get http1 "https://web.example/" ()
                    ()

                return kedge.Program.ResidentBytes, descriptors kedge
            }

        // Connections to backends are kept for 90 seconds after their last request, a flood's as well.
        do!
            soon (5.0 * patience) $"resident bytes near {memory}, descriptors near {files}" settled (fun (m, f) ->
                // The runtime and the system's allocator keep some of what a flood made them take; a leak takes more.
                float m <= 1.2 * float memory + 64e6 && f <= files + 10)

        for peer in webs do
            (peer :> IDisposable).Dispose()

        for peer in rpcs do
            (peer :> IDisposable).Dispose()

        printfn
            "chaos for %.0f s, %d rounds: %d requests, %d MiB and %d descriptors before, %d MiB and %d after"
            clock.Elapsed.TotalSeconds
            rounds
            ledger.Total
            (memory / 1048576L)
            files
            (kedge.Program.ResidentBytes / 1048576L)
            (descriptors kedge)
    }

[<Tests>]
let tests =
    testSequencedGroup "chaos"
    <| testList
        "chaos"
        [
            testCaseAsync
                "while everything around it fails and recovers, no request fails that had a healthy endpoint"
                (async {
                    let limit = length + TimeSpan.FromMinutes 5.0
                    do! Async.AwaitTask(Task.Run<unit>(chaos).WaitAsync limit)
                })
        ]
