/// What becomes of a request whose HTTP/2 stream or connection the backend gives up.
module Kedge.Tests.EndToEnd.RefusedStreamTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Text
open System.Threading
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

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

let private sentAgain (peer: Http2Peer) (body: byte array) (answer: Response) =
    Expect.equal (answer.Status, answer.Header "grpc-status") (200, "0") (answer.Header "X-Kedge-Error")
    Expect.equal peer.Arrived 2 "sent twice"
    Expect.equal peer.Bodies [| body |] "once to the end, whole"

let private notSentAgain (peer: Http2Peer) (answer: Response) =
    Expect.equal (answer.Header "X-Kedge-Error-Type") "transport-unknown-error" "the answer"
    Expect.equal peer.Arrived 1 "sent once"

[<Tests>]
let tests =
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

                    sentAgain peer body answer
                })

            case "a request that a connection's end left out is sent again on another" (fun () ->
                task {
                    use peer = new Http2Peer([ GoAway; Answer ])
                    use! kedge = startGrpc peer.Port
                    use client = Clients.http2 kedge.GrpcPort None
                    let body = Array.init 300 byte
                    let! answer = call client (new ByteArrayContent(body))

                    sentAgain peer body answer
                })

            case "a body that is too long to be held is not sent again" (fun () ->
                task {
                    use peer = new Http2Peer([ Drop ])
                    use! kedge = startGrpc peer.Port
                    use client = Clients.http2 kedge.GrpcPort None
                    let! answer = call client (new ByteArrayContent(Array.zeroCreate<byte> 1_000_000))
                    notSentAgain peer answer
                })

            case "a connection that breaks off after the body began: the request is not sent again" (fun () ->
                task {
                    use peer = new Http2Peer([ Drop; Answer ])
                    use! kedge = startGrpc peer.Port
                    use client = Clients.http2 kedge.GrpcPort None
                    let! answer = call client (new ByteArrayContent(Array.zeroCreate<byte> 100))
                    notSentAgain peer answer
                })
        ]
