/// Bounds of docs/security.md#bounds that no other list reaches.
module Kedge.Tests.EndToEnd.BoundTests

open System
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/// Answers each request once the gate is open, and keeps its connections.
let private gated (gate: Task) =
    new RawPeer(fun stream ->
        task {
            while true do
                let! head = RawPeer.ReadHead stream

                if head = "" then
                    stream.Socket.Close()

                do! gate
                do! RawPeer.Write(stream, ok)
        })

let private connections (kedge: Kedge) (state: string) =
    DebugPort.metric kedge "kedge_backend_connections" [ "protocol", "http"; "state", state ]

/// Sends so many requests, some of them at the same time; yields their statuses.
let private many (client: HttpClient) (count: int) (url: int -> string) =
    task {
        let statuses = Array.zeroCreate<int> count

        do!
            Parallel.ForAsync(
                0,
                count,
                ParallelOptions(MaxDegreeOfParallelism = 12),
                fun i (_: CancellationToken) ->
                    ValueTask(
                        task {
                            let! answer = get client (url i) []
                            statuses[i] <- answer.Status
                        }
                    )
            )

        return Array.distinct statuses
    }

[<Tests>]
let tests =
    testList
        "bounds"
        [
            case "--backend_max_connections: idle connections make room; with none idle, requests get 503" (fun () ->
                task {
                    let gate = TaskCompletionSource()
                    use a = gated Task.CompletedTask
                    use b = gated Task.CompletedTask
                    use c = gated Task.CompletedTask
                    use held = gated gate.Task
                    let peers = [ "one", a; "two", b; "three", c; "held", held ]

                    use! kedge =
                        Kedge.Start(
                            Json.director [ for name, _ in peers -> Json.httpRoute name $"{name}.example" ] [],
                            Json.pool [ for name, peer in peers -> Json.backend name peer.Port ] [],
                            [ "--backend_max_connections=2" ]
                        )

                    use client = Clients.http2 kedge.HttpsPort None

                    for name in [ "one"; "two"; "three"; "one"; "two"; "three" ] do
                        let! answer = get client $"https://{name}.example/" []
                        Expect.equal (answer.Status, answer.Body) (200, "ok") name
                        let! idle = connections kedge "idle"
                        Expect.isLessThanOrEqual idle 2.0 "connections"

                    Expect.isGreaterThanOrEqual
                        (a.Accepted + b.Accepted + c.Accepted)
                        4
                        "some were closed to make room"

                    let pending = [ for _ in 1..2 -> get client "https://held.example/" [] ]
                    do! soon patience "two in use" (fun () -> connections kedge "in_use") ((=) 2.0)
                    let! refused = get client "https://one.example/" []

                    Expect.equal
                        (refused.Status, refused.Header "X-Kedge-Error-Type")
                        (503, "too-many-requests")
                        "none is idle"

                    gate.SetResult()

                    for one in pending do
                        let! answer = one
                        Expect.equal answer.Status 200 "they finish"

                    let! after = get client "https://one.example/" []
                    Expect.equal after.Status 200 "room again"
                })

            case "8,192 requests wait for an endpoint; those beyond get 503, and others are served" (fun () ->
                task {
                    use hanging = RawPeer.Hanging()

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [
                                    Json.httpRoute "hanging" "held.example"
                                    Json.httpRoute "alpha" "alpha.example"
                                ]
                                [],
                            Json.pool [ Json.backend "hanging" hanging.Port; Json.backend "alpha" alpha.Value.Port ] [],
                            [
                                "--backend_max_connections_per_endpoint=1"
                                "--backend_max_wait=2m"
                                "--server_http_max_read_timeout=2m"
                                "--server_http_max_write_timeout=2m"
                            ]
                        )

                    let block =
                        HeaderBlock.plain
                            [
                                ":method", "GET"
                                ":scheme", "https"
                                ":authority", "held.example"
                                ":path", "/"
                            ]

                    // 8,500 requests.
                    let! callers =
                        Task.WhenAll
                            [
                                for _ in 1..34 ->
                                    task {
                                        let! caller = Http2Frames.Connect kedge.HttpsPort

                                        for i in 0..249 do
                                            do! caller.Send(1uy, 5uy, 2 * i + 1, block)

                                        return caller
                                    }
                            ]

                    let waiting () =
                        DebugPort.metric kedge "kedge_backend_streams" [ "protocol", "http"; "state", "waiting" ]

                    let refused () =
                        DebugPort.metric
                            kedge
                            "kedge_proxy_errors_total"
                            [ "backend_name", "hanging"; "type", "too-many-requests" ]

                    // One request gets the connection; it waited, too, if the others were faster than the connection.
                    do! soon patience "all have come" refused (fun count -> count >= 8500.0 - 8192.0 - 1.0)
                    let! count = waiting ()
                    Expect.isTrue (count = 8192.0 || count = 8191.0) $"requests that wait: {count}"
                    let! count = refused ()
                    Expect.isLessThanOrEqual count (8500.0 - 8192.0) "no other is refused"
                    use client = Clients.http2 kedge.HttpsPort None
                    let! answer = get client "https://alpha.example/" []
                    Expect.equal (answer.Status, answer.Body) (200, "alpha") "another backend"

                    for caller in callers do
                        (caller :> IDisposable).Dispose()

                    do! soon patience "none waits when its caller has left" waiting ((=) 0.0)
                })

            case "of the answers to ad-hoc look-ups, 4,096 are kept" (fun () ->
                task {
                    use dns = new RawDns(fun _ -> Addresses(60, [ "127.0.0.1" ]))

                    use! kedge =
                        Kedge.Start(
                            Json.directorWithAdhoc
                                []
                                []
                                [ """{ "dns_name_matcher": "*.many.test", "port": { "allowed": [80] } }""" ],
                            Json.pool [] [],
                            [ $"--dns_nameservers=127.0.0.1:{dns.Port}" ]
                        )

                    use client = Clients.http2 kedge.HttpsPort None
                    let kept () = DebugPort.metric kedge "kedge_adhoc_answers" []
                    let name i = $"https://n{i}.many.test.:80/"
                    // They lead to this machine, which is refused once they are resolved.
                    let! statuses = many client 4096 name
                    Expect.equal statuses [| 400 |] "the first 4,096"
                    let! full = kept ()
                    Expect.equal full 4096.0 "all are kept"
                    let! statuses = many client 1 (fun _ -> name 4096)
                    Expect.equal statuses [| 400 |] "one more"
                    let! afterwards = kept ()
                    Expect.equal afterwards 1.0 "the cache was emptied"
                })

            case "of requests, the debug pages have the latest 256, and of failures 64" (fun () ->
                task {
                    use! kedge =
                        Kedge.Start(
                            """{ "http": { "routes": [ { "host_matcher": "a.example", "respond": { "status": 200 } } ] } }""",
                            "{}",
                            []
                        )

                    use client = Clients.http2 kedge.HttpsPort None
                    let! good = many client 300 (fun i -> $"https://a.example/{i}")
                    let! bad = many client 100 (fun i -> $"https://b.example/{i}")
                    Expect.equal (good, bad) ([| 200 |], [| 502 |]) "statuses"

                    let count page name =
                        task {
                            let! view = DebugPort.json kedge page
                            return (items name view).Length
                        }

                    do! soon patience "requests" (fun () -> count "/debug/requests" "requests") ((=) 256)
                    do! soon patience "failures" (fun () -> count "/debug/status" "failures") ((=) 64)
                })
        ]
