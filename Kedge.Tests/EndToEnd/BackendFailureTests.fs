/// Endpoints that die, refuse, reset and answer too early.
module Kedge.Tests.EndToEnd.BackendFailureTests

open System
open System.Collections.Concurrent
open System.Net.Http
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

[<Tests>]
let tests =
    testList
        "backend failures"
        [
            case "of three endpoints one is killed and one refuses: none of 2,000 requests fails" (fun () ->
                task {
                    let port = Ports.free ()
                    use killed = peerAt "127.0.0.2" port
                    use alive = peerAt "127.0.0.3" port
                    use! dns = dnsOf 60 [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]

                    use! kedge =
                        startHttp dns port "" [ "--lbtransport_failed_target_backoff_duration=100ms" ]

                    use client = Clients.http2 kedge.HttpsPort None
                    let mutable next = 0
                    let failed = ConcurrentQueue<string>()
                    let byPeer = ConcurrentDictionary<string, int>()

                    let worker () : Task =
                        task {
                            let mutable number = Interlocked.Increment &next

                            while number <= 2000 do
                                if number = 700 then
                                    (killed :> IDisposable).Dispose()

                                let! answer = get client "https://many.example/" []

                                if answer.Status = 200 then
                                    byPeer.AddOrUpdate(answer.Body, 1, (fun _ count -> count + 1)) |> ignore
                                else
                                    failed.Enqueue(string answer.Status + " " + answer.Header "X-Kedge-Error")

                                number <- Interlocked.Increment &next
                        }

                    do! finishes "2,000 requests" (Task.WhenAll [ for _ in 1..16 -> worker () ])
                    Expect.equal (List.ofSeq failed) [] "failed"
                    Expect.equal (Seq.sum byPeer.Values) 2000 "answered"
                    Expect.isGreaterThan byPeer["127.0.0.2"] 200 "the killed one had its share before"
                    Expect.isGreaterThan alive.Received.Length 1000 "the other one took over"
                })

            case "a POST that is reset in the middle of its body arrives once, and no other endpoint gets it" (fun () ->
                task {
                    let body = Array.zeroCreate<byte> 1_000_000

                    use resetting =
                        new RawPeer(fun stream ->
                            task {
                                let! _ = RawPeer.ReadHead stream
                                do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(body.Length / 2).AsMemory())
                                stream.Socket.LingerState <- LingerOption(true, 0)
                                stream.Socket.Close()
                            })

                    use other = new HttpPeer "other"
                    use dns = new Dns 60

                    do!
                        dns.Serve
                            [
                                Address("a.test", "127.0.0.1")
                                Address("b.test", "127.0.0.1")
                                Service("_http._tcp.test", "a.test", resetting.Port, 10, 0)
                                Service("_http._tcp.test", "b.test", other.Port, 20, 0)
                            ]

                    let backend = """{ "name": "many", "srv": { "dns_name": "_http._tcp.test" } }"""
                    use! kedge = startMany dns backend backend []
                    use client = Clients.http2 kedge.HttpsPort None

                    let! answer =
                        send
                            client
                            (new HttpRequestMessage(
                                HttpMethod.Post,
                                "https://many.example/",
                                Content = new ByteArrayContent(body)
                            ))

                    Expect.equal
                        (answer.Status, answer.Header "X-Kedge-Error-Type")
                        (502, "transport-unknown-error")
                        "the answer"

                    Expect.equal (resetting.Accepted, other.Received.Length) (1, 0) "arrived once"
                })

            case "an answer in the middle of an upload, after which the endpoint closes, reaches the caller" (fun () ->
                task {
                    use early =
                        new RawPeer(fun stream ->
                            task {
                                let! _ = RawPeer.ReadHead stream
                                do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(100_000).AsMemory())

                                do!
                                    RawPeer.Write(
                                        stream,
                                        "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong"
                                    )
                            })

                    use! kedge = serving "early" early.Port []

                    use client = Clients.http2 kedge.HttpsPort None

                    for chunked in [ false; true ] do
                        let body = Array.zeroCreate<byte> 20_000_000

                        let content = Clients.body chunked body

                        let! answer =
                            send
                                client
                                (new HttpRequestMessage(HttpMethod.Post, "https://early.example/", Content = content))

                        Expect.equal (answer.Status, answer.Body) (413, "long") $"chunked={chunked}"
                })

            case "trailers are announced to HTTP/2 callers only" (fun () ->
                task {
                    use peer =
                        RawPeer.Answering
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n"

                    use! kedge = serving "sum" peer.Port []

                    use http1 = Clients.http1 kedge.HttpsPort None
                    use http2 = Clients.http2 kedge.HttpsPort None
                    let! plain = get http1 "https://sum.example/" []
                    let! full = get http2 "https://sum.example/" []
                    Expect.equal (plain.Body, plain.Header "Trailer") ("a", "") "HTTP/1.1"
                    Expect.equal (full.Body, full.Header "Trailer") ("a", "X-Sum") "HTTP/2"

                    Expect.equal
                        (full.Message.TrailingHeaders.GetValues "X-Sum" |> List.ofSeq)
                        [ "7" ]
                        "the trailer itself"
                })
        ]
