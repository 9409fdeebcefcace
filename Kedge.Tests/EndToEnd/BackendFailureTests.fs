module Kedge.Tests.EndToEnd.BackendFailureTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Http

/// What an HTTP/2 peer does with a request, once it has the first frame of its body.
type private Verdict =
    | Refuse
    | Answer
    /// Says that the connection ends and that this request was not processed.
    | GoAway
    /// Ends the connection.
    | Drop

/// A bare HTTP/2 server. Each request's body is gathered; verdicts are taken in the order of arrival, the last one for
/// all that follow.
type private Http2Peer(verdicts: Verdict list) =
    let bodies = ConcurrentQueue<byte array>()
    let mutable arrived = 0

    let readFrame (stream: Stream) =
        task {
            let head = Array.zeroCreate<byte> 9
            do! stream.ReadExactlyAsync(head.AsMemory())
            let length = (int head[0] <<< 16) ||| (int head[1] <<< 8) ||| int head[2]
            let payload = Array.zeroCreate<byte> length
            do! stream.ReadExactlyAsync(payload.AsMemory())
            return head[3], head[4], head[5..8], payload
        }

    let writeFrame (stream: Stream) (kind: byte) (flags: byte) (id: byte array) (payload: byte array) =
        let length = payload.Length

        let head =
            [|
                byte (length >>> 16)
                byte (length >>> 8)
                byte length
                kind
                flags
                yield! id
                yield! payload
            |]

        stream.WriteAsync(head, 0, head.Length)

    let connection = Array.zeroCreate<byte> 4

    /// A header field in plain, without indexing.
    let field (name: string) (value: string) =
        [|
            0uy
            byte name.Length
            yield! Encoding.ASCII.GetBytes name
            byte value.Length
            yield! Encoding.ASCII.GetBytes value
        |]

    let peer =
        new RawPeer(fun stream ->
            task {
                let preface = Array.zeroCreate<byte> 24
                do! stream.ReadExactlyAsync(preface.AsMemory())
                do! writeFrame stream 4uy 0uy connection [||]
                let mutable serving = true
                let gathered = Collections.Generic.Dictionary<string, ResizeArray<byte>>()
                let decided = Collections.Generic.Dictionary<string, Verdict>()

                while serving do
                    let! kind, flags, id, payload = readFrame stream
                    let key = Convert.ToHexString id

                    match kind with
                    | 4uy when flags &&& 1uy = 0uy -> do! writeFrame stream 4uy 1uy connection [||]
                    | 6uy when flags &&& 1uy = 0uy -> do! writeFrame stream 6uy 1uy connection payload
                    | 0uy ->
                        if not (gathered.ContainsKey key) then
                            gathered[key] <- ResizeArray()
                            let number = Interlocked.Increment &arrived
                            decided[key] <- verdicts[min number verdicts.Length - 1]

                        gathered[key].AddRange payload

                        match decided[key] with
                        | Drop -> serving <- false
                        | GoAway ->
                            // The last stream that was processed is 0: none; NO_ERROR.
                            do! writeFrame stream 7uy 0uy connection (Array.zeroCreate<byte> 8)
                            serving <- false
                        | Refuse ->
                            if gathered[key].Count = payload.Length then
                                do! writeFrame stream 3uy 0uy id [| 0uy; 0uy; 0uy; 7uy |]
                        | Answer ->
                            if flags &&& 1uy = 1uy then
                                bodies.Enqueue(gathered[key].ToArray())

                                let answer =
                                    [|
                                        0x88uy
                                        yield! field "content-type" "application/grpc"
                                        yield! field "grpc-status" "0"
                                    |]

                                do! writeFrame stream 1uy 5uy id answer
                    | _ -> ()
            })

    member _.Port = peer.Port
    /// Requests so far.
    member _.Arrived = Volatile.Read &arrived
    /// Bodies of the requests that were answered.
    member _.Bodies = bodies.ToArray()

    interface IDisposable with
        member _.Dispose() = (peer :> IDisposable).Dispose()

let private startGrpc (port: int) =
    Kedge.Start(
        Json.director [] [ Json.grpcRoute "bare" "bare.example" ],
        Json.pool [] [ Json.backend "bare" port ],
        []
    )

/// A gRPC request whose body is sent as written, without waiting for an answer.
let private call (client: HttpClient) (body: HttpContent) =
    body.Headers.Add("Content-Type", "application/grpc")
    send client (new HttpRequestMessage(HttpMethod.Post, "https://bare.example/s/M", Content = body))

[<Tests>]
let endpoints =
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

                    use! kedge =
                        Kedge.Start(
                            Json.director [ Json.httpRoute "early" "early.example" ] [],
                            Json.pool [ Json.backend "early" early.Port ] [],
                            []
                        )

                    use client = Clients.http2 kedge.HttpsPort None

                    for chunked in [ false; true ] do
                        let body = Array.zeroCreate<byte> 20_000_000

                        let content: HttpContent =
                            if chunked then
                                new PushContent(fun stream -> stream.WriteAsync(body, 0, body.Length))
                            else
                                new ByteArrayContent(body)

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

                    use! kedge =
                        Kedge.Start(
                            Json.director [ Json.httpRoute "sum" "sum.example" ] [],
                            Json.pool [ Json.backend "sum" peer.Port ] [],
                            []
                        )

                    use http1 = Clients.http1 kedge.HttpsPort None
                    use http2 = Clients.http2 kedge.HttpsPort None
                    let! plain = get http1 "https://sum.example/" []
                    let! full = get http2 "https://sum.example/" []
                    Expect.equal (plain.Body, plain.Header "Trailer") ("a", "") "HTTP/1.1"
                    Expect.equal (full.Body, full.Header "Trailer") ("a", "X-Sum") "HTTP/2"

                    Expect.equal
                        (full.Response.TrailingHeaders.GetValues "X-Sum" |> List.ofSeq)
                        [ "7" ]
                        "the trailer itself"
                })
        ]

[<Tests>]
let streams =
    testList
        "refused HTTP/2 streams"
        [
            case "a refused stream is sent again with its whole body" (fun () ->
                task {
                    use peer = new Http2Peer([ Refuse; Answer ])
                    use! kedge = startGrpc peer.Port
                    use client = Clients.http2 kedge.GrpcPort None
                    let body = Array.init 5_000 byte

                    let content =
                        new PushContent(fun stream ->
                            task {
                                do! stream.WriteAsync(body, 0, 3_000)
                                do! stream.FlushAsync()
                                // The first part is refused before the second is there.
                                do! eventually "the first part" (fun () -> peer.Arrived > 0)
                                do! stream.WriteAsync(body, 3_000, 2_000)
                            })

                    let! answer = call client content

                    Expect.equal
                        (answer.Status, answer.Header "grpc-status")
                        (200, "0")
                        (answer.Header "X-Kedge-Error")

                    Expect.equal peer.Arrived 2 "sent twice"
                    Expect.equal peer.Bodies [| body |] "once to the end, whole"
                })

            case "a request that a connection's end left out is sent again on another" (fun () ->
                task {
                    use peer = new Http2Peer([ GoAway; Answer ])
                    use! kedge = startGrpc peer.Port
                    use client = Clients.http2 kedge.GrpcPort None
                    let body = Array.init 300 byte
                    let! answer = call client (new ByteArrayContent(body))

                    Expect.equal
                        (answer.Status, answer.Header "grpc-status")
                        (200, "0")
                        (answer.Header "X-Kedge-Error")

                    Expect.equal peer.Arrived 2 "sent twice"
                    Expect.equal peer.Bodies [| body |] "once to the end, whole"
                })

            case "a body that is too long to be held is not sent again" (fun () ->
                task {
                    use peer = new Http2Peer([ Drop ])
                    use! kedge = startGrpc peer.Port
                    use client = Clients.http2 kedge.GrpcPort None
                    let! answer = call client (new ByteArrayContent(Array.zeroCreate<byte> 1_000_000))
                    Expect.equal (answer.Header "X-Kedge-Error-Type") "transport-unknown-error" "the answer"
                    Expect.equal peer.Arrived 1 "sent once"
                })

            case "a connection that breaks off after the body began: the request is not sent again" (fun () ->
                task {
                    use peer = new Http2Peer([ Drop; Answer ])
                    use! kedge = startGrpc peer.Port
                    use client = Clients.http2 kedge.GrpcPort None
                    let! answer = call client (new ByteArrayContent(Array.zeroCreate<byte> 100))
                    Expect.equal (answer.Header "X-Kedge-Error-Type") "transport-unknown-error" "the answer"
                    Expect.equal peer.Arrived 1 "sent once"
                })
        ]

[<Tests>]
let limits =
    testList
        "backend limits"
        [
            case "max_requests: one more gets 503, or RESOURCE_EXHAUSTED" (fun () ->
                task {
                    use peer = new HttpPeer "peer"
                    use echo = new GrpcPeer "echo"
                    let release = TaskCompletionSource()

                    peer.On(
                        "/hold",
                        fun context ->
                            task {
                                do! release.Task
                                do! context.Response.WriteAsync "held"
                            }
                    )

                    let limited port =
                        $$"""{ "name": "limited", "max_requests": 2, "host": { "dns_name": "127.0.0.1", "port": {{port}} } }"""

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [ Json.httpRoute "limited" "limited.example" ]
                                [ Json.grpcRoute "limited" "limited.example" ],
                            Json.pool [ limited peer.Port ] [ limited echo.Port ],
                            []
                        )

                    use client = Clients.http2 kedge.HttpsPort None
                    let held = [ for _ in 1..2 -> get client "https://limited.example/hold" [] ]
                    do! eventually "both are there" (fun () -> (peer.ReceivedOn "/hold").Length = 2)
                    let! third = get client "https://limited.example/" []
                    Expect.equal (third.Status, third.Header "X-Kedge-Error-Type") (503, "too-many-requests") "third"
                    release.SetResult()

                    for one in held do
                        let! answer = one
                        Expect.equal answer.Body "held" "they finish"

                    let! after = get client "https://limited.example/" []
                    Expect.equal after.Status 200 "room again"
                    use channel = Clients.grpc kedge.GrpcPort None "limited.example:443"
                    let echoes = Echo.EchoClient channel
                    use first = echoes.Bidi()
                    use second = echoes.Bidi()
                    let! _ = first.ResponseHeadersAsync
                    let! _ = second.ResponseHeadersAsync

                    let! error =
                        failure<RpcException> "the third" (fun () ->
                            echoes.UnaryAsync(EchoRequest(Text = "x")).ResponseAsync)

                    Expect.equal error.StatusCode StatusCode.ResourceExhausted error.Status.Detail
                })

            case "an endpoint that refused is left out for lbtransport_failed_target_backoff_duration" (fun () ->
                task {
                    for backoff, comesBack in [ "60s", false; "200ms", true ] do
                        let port = Ports.free ()
                        use steady = peerAt "127.0.0.3" port
                        use! dns = dnsOf 60 [ "127.0.0.2"; "127.0.0.3" ]

                        use! kedge =
                            startHttp dns port "" [ $"--lbtransport_failed_target_backoff_duration={backoff}" ]

                        use client = Clients.http1 kedge.HttpsPort None
                        let! first = bodies client 4
                        Expect.equal (List.distinct first) [ steady.Name ] "the other refuses"
                        use late = peerAt "127.0.0.2" port
                        do! Task.Delay 400
                        let! next = bodies client 6
                        Expect.equal (List.contains late.Name next) comesBack $"after {backoff}"
                })
        ]

[<Tests>]
let balancers =
    testList
        "balancers"
        [
            case "RANDOM, POWER_OF_TWO_CHOICES and LEAST_REQUEST use every endpoint" (fun () ->
                task {
                    let addresses = [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]
                    let port = Ports.free ()
                    use _ = disposing (addresses |> List.map (fun address -> peerAt address port))
                    use! dns = dnsOf 60 addresses

                    for balancer in [ "RANDOM"; "POWER_OF_TWO_CHOICES"; "LEAST_REQUEST" ] do
                        use! kedge = startHttp dns port $", \"balancer\": \"{balancer}\"" []
                        use client = Clients.http2 kedge.HttpsPort None
                        // That RANDOM leaves one of three out in 60 has a chance of one in ten thousand million.
                        let! answers = bodies client 60
                        Expect.equal (List.sort (List.distinct answers)) addresses balancer
                })

            case "LEAST_REQUEST keeps away from endpoints that are busy" (fun () ->
                task {
                    let addresses = [ "127.0.0.2"; "127.0.0.3"; "127.0.0.4" ]
                    let port = Ports.free ()
                    let peers = addresses |> List.map (fun address -> peerAt address port)
                    use _ = disposing peers
                    let release = TaskCompletionSource()

                    for peer in peers do
                        peer.On("/hold", (fun _ -> release.Task))

                    use! dns = dnsOf 60 addresses
                    use! kedge = startHttp dns port ", \"balancer\": \"LEAST_REQUEST\"" []
                    use client = Clients.http2 kedge.HttpsPort None
                    // Two are held by two of the three.
                    let first = get client "https://many.example/hold" []
                    let holding () = peers |> List.filter (fun peer -> (peer.ReceivedOn "/hold").Length > 0)
                    do! eventually "the first is held" (fun () -> (holding ()).Length = 1)
                    let second = get client "https://many.example/hold" []
                    do! eventually "the second is held elsewhere" (fun () -> (holding ()).Length = 2)
                    let idle = peers |> List.except (holding ()) |> List.exactlyOne
                    let! answers = bodies client 10
                    Expect.equal (List.distinct answers) [ idle.Name ] "the idle one"
                    release.SetResult()
                    let! _ = first
                    let! _ = second
                    ()
                })
        ]

[<Tests>]
let atRunTime =
    testList
        "backends at run time"
        [
            case "a backend that is removed finishes its requests; one that is added is reached" (fun () ->
                task {
                    use old = new HttpPeer "old"
                    use added = new HttpPeer "added"
                    let release = TaskCompletionSource()

                    old.On(
                        "/hold",
                        fun context ->
                            task {
                                do! context.Response.WriteAsync "first "
                                do! context.Response.Body.FlushAsync()
                                do! release.Task
                                do! context.Response.WriteAsync "second"
                            }
                    )

                    let director name = Json.director [ Json.httpRoute name $"{name}.example" ] []

                    use! kedge =
                        Kedge.Start(director "old", Json.pool [ Json.backend "old" old.Port ] [], [])

                    use client = Clients.http2 kedge.HttpsPort None
                    let held = get client "https://old.example/hold" []
                    do! eventually "the request is there" (fun () -> (old.ReceivedOn "/hold").Length = 1)
                    File.WriteAllText(kedge.BackendPoolFile, Json.pool [ Json.backend "added" added.Port ] [])
                    File.WriteAllText(kedge.DirectorFile, director "added")
                    kedge.Program.Signal PosixSignal.SIGHUP

                    let status host = (get client $"https://{host}.example/" []).GetAwaiter().GetResult().Status

                    do! eventually "the added one answers" (fun () -> status "added" = 200)
                    Expect.equal (status "old") 502 "the removed one has no route"
                    release.SetResult()
                    let! answer = held
                    Expect.equal answer.Body "first second" "what was under way finished"
                })
        ]
