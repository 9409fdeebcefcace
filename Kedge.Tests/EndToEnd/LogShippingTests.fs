/// Log lines as JSON over TCP to a logstash that takes them, breaks off, is away, or does not read.
module Kedge.Tests.EndToEnd.LogShippingTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private start (port: int) (flags: string list) =
    task {
        let peer = new HttpPeer "well"
        let director = Json.director [ Json.httpRoute "well" "well.example" ] []
        let pool = Json.pool [ Json.backend "well" peer.Port ] []

        let! kedge =
            Kedge.Start(director, pool, $"--logstash_hostport=127.0.0.1:{port}" :: flags)

        return peer, kedge
    }

/// What the shipper itself says in kedge's own log.
let private said (kedge: Kedge) =
    [
        for line in kedge.Program.Stderr do
            if line.StartsWith '{' then
                let entry = JsonDocument.Parse(line).RootElement

                if entry.GetProperty("logger").GetString() = "kedge.logstash" then
                    string (entry.GetProperty "level"), string (entry.GetProperty "message")
    ]

let private dropped (kedge: Kedge) = DebugPort.metric kedge "kedge_log_lines_dropped_total" []

/// Lines that may wait.
let private room = 50

let private flags =
    [ $"--logstash_write_buffer_size={room}"; "--logstash_write_timeout=300ms" ]

/// A thousand requests that fail, each with a long line in the log, and good ones between them. All are answered.
let private storm (client: HttpClient) =
    task {
        let path = String('x', 4000)

        for batch in 1..20 do
            let failing = [ for _ in 1..50 -> get client $"https://nobody.example/{path}" [] ]
            let! answers = Task.WhenAll failing |> within "answers to requests that fail"

            for answer in answers do
                Expect.equal answer.Status 502 "no route"

            let! answer = get client $"https://well.example/{batch}" [] |> within "an answer"
            Expect.equal answer.Status 200 "the proxy goes on"
    }

/// A logstash that takes every connection, and reads lines only while it is told to.
type private Logstash(port: int) =
    let listener = new TcpListener(IPAddress.Loopback, port)
    // Little room for what is not read. Connections inherit it.
    do listener.Server.ReceiveBufferSize <- 4096
    do listener.Start()
    let lines = ConcurrentQueue<string>()
    let mutable reads = false

    let serve (client: TcpClient) : Task =
        task {
            use client = client
            use reader = new StreamReader(client.GetStream())

            try
                do! eventually "leave to read" (fun () -> Volatile.Read &reads)
                let mutable reading = true

                while reading do
                    match! reader.ReadLineAsync() with
                    | null -> reading <- false
                    | line -> lines.Enqueue line
            with
            | :? IOException
            | :? SocketException -> ()
        }

    let accept: Task =
        task {
            try
                while true do
                    let! client = listener.AcceptTcpClientAsync()
                    serve client |> ignore
            with
            | :? SocketException
            | :? InvalidOperationException -> ()
        }

    new() = new Logstash(0)
    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port
    member _.Read() = Volatile.Write(&reads, true)
    member _.Has(text: string) = lines |> Seq.exists (fun line -> line.Contains text)

    interface IDisposable with
        member _.Dispose() =
            listener.Stop()
            finishes "the end" accept |> ignore

/// Lines flow again, and the log says so, once.
let private recovers (kedge: Kedge) (client: HttpClient) (logstash: Logstash) =
    task {
        let before = said kedge
        Expect.equal (fst (List.last before)) "warning" "drops were told"
        logstash.Read()

        do!
            eventually "the good news" (fun () ->
                (get client "https://nobody.example/afterwards" []).Wait()
                (said kedge).Length > before.Length)

        let level, message = List.last (said kedge)
        Expect.equal level "info" message
        Expect.stringContains message "keeps up again" "what"
        do! eventually "a new line" (fun () -> logstash.Has "afterwards")
        Expect.equal (said kedge).Length (before.Length + 1) "no more than that is said"
    }

[<Tests>]
let tests =
    testList
        "logstash"
        [
            case "lines come as JSON over TCP, again after a broken connection" (fun () ->
                task {
                    use listener = new TcpListener(IPAddress.Loopback, 0)
                    listener.Start()
                    let port = (listener.LocalEndpoint :?> IPEndPoint).Port
                    let! peer, kedge = start port [ "--logstash_log_tags=edge,test" ]
                    use _ = peer
                    use kedge = kedge
                    use first = listener.AcceptTcpClient()
                    use reader = new StreamReader(first.GetStream())
                    let! line = within "a line" (reader.ReadLineAsync())
                    let entry = JsonDocument.Parse(nonNull line).RootElement
                    Expect.equal (entry.GetProperty("@tags").ToString()) """["edge","test"]""" "tags"
                    Expect.isTrue (entry.GetProperty("message").GetString() <> "") "message"
                    Expect.equal (entry.GetProperty("@version").GetInt32()) 1 "version of the format"
                    Expect.equal (string (entry.GetProperty "HOSTNAME")) Environment.MachineName "host"
                    Expect.contains [ "INFO"; "WARN" ] (string (entry.GetProperty "level")) "level in capitals"

                    Expect.isTrue
                        (DateTimeOffset.UtcNow - entry.GetProperty("@timestamp").GetDateTimeOffset() < patience)
                        "time"

                    Expect.isFalse (fst (entry.TryGetProperty "fields")) "the fields are at the top"
                    first.Close()
                    use client = Clients.http1 kedge.HttpsPort None
                    let again = listener.AcceptTcpClientAsync()

                    do!
                        eventually "another connection" (fun () ->
                            get client "https://nobody.example/more" []
                            |> fun t -> t.GetAwaiter().GetResult() |> ignore

                            again.IsCompleted)

                    use second = again.Result
                    use reader = new StreamReader(second.GetStream())
                    let! line = within "a line" (reader.ReadLineAsync())
                    Expect.stringContains (nonNull line) "nobody.example" "the line goes on"
                    let entry = JsonDocument.Parse(nonNull line).RootElement
                    Expect.equal (string (entry.GetProperty "Host")) "nobody.example" "a field at the top"
                })

            case "one that is away: only so many lines wait, the rest is dropped, counted and told once" (fun () ->
                task {
                    let port = Ports.free ()
                    let! peer, kedge = start port flags
                    use _ = peer
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None
                    do! storm client
                    do! eventually "a line for each request" (fun () -> kedge.Program.Stderr.Length > 1000)
                    let! count = dropped kedge
                    let logged = float kedge.Program.Stderr.Length
                    // Nothing was sent: what was logged and not dropped is what waits.
                    Expect.isLessThanOrEqual (logged - count) (float room) "so many wait"
                    Expect.equal (List.map fst (said kedge)) [ "warning" ] "told once"
                    use logstash = new Logstash(port)
                    do! recovers kedge client logstash
                })

            case "one that takes connections and does not read: requests are served, lines are dropped" (fun () ->
                task {
                    use logstash = new Logstash()
                    let! peer, kedge = start logstash.Port flags
                    use _ = peer
                    use kedge = kedge
                    use client = Clients.http2 kedge.HttpsPort None
                    let before = kedge.Program.ResidentBytes
                    let clock = Diagnostics.Stopwatch.StartNew()
                    let mutable count = 0.0

                    // What the sockets' buffers hold is not dropped.
                    while count < 1000.0 do
                        do! storm client
                        let! dropped = dropped kedge
                        count <- dropped

                    // The buffers of a new connection take lines for a while, so there may be good news between.
                    let warnings = said kedge |> List.filter (fun (level, _) -> level = "warning")

                    Expect.isLessThanOrEqual
                        (float warnings.Length)
                        (1.0 + clock.Elapsed.TotalSeconds / 5.0)
                        "told rarely"

                    Expect.isLessThan (kedge.Program.ResidentBytes - before) (128L * 1024L * 1024L) "memory"
                    do! recovers kedge client logstash
                })
        ]
