/// Responses of HTTP/2 endpoints: whole, early, cut and malformed.
module Kedge.Tests.Wire.Http2ResponseTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Wire.Http2Stage
open Kedge.Wire.Http2
open Kedge.Wire.Upstream

[<Tests>]
let tests =
    testList
        "HTTP/2 connections to endpoints"
        [
            testList
                "responses"
                [
                    case "head, content and trailers" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()

                                do!
                                    peer.Headers(
                                        stream,
                                        [ ":status", "200"; "x-a", "1"; "x-a", "2"; "content-length", "4" ],
                                        false
                                    )

                                do! peer.Data(stream, text "con", false)
                                do! peer.Data(stream, text "t", false)
                                do! peer.Headers(stream, [ "x-checksum", "9" ], true)
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! response = Client.send connection (Client.get "/")
                                Expect.equal (int response.StatusCode) 200 ""
                                Expect.equal response.Version HttpVersion.Version20 ""
                                Expect.equal response.ContentLength (Nullable 4L) ""
                                Expect.isFalse response.HasNoContent ""

                                let fields =
                                    [ for field in response.Fields.AsSpan().ToArray() -> field.Name, field.Value ]

                                Expect.equal fields [ "x-a", "1"; "x-a", "2"; "content-length", "4" ] ""
                                let! content = Client.read response
                                Expect.equal content "cont" ""
                                let trailers = nonNull response.Trailers
                                Expect.equal trailers[0] (Field("x-checksum", "9")) ""
                            }))

                    case "a response that ends with its head has no content" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()
                                do! peer.Headers(stream, [ ":status", "200"; "grpc-status", "7" ], true)
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! response = Client.send connection (Client.get "/")
                                Expect.isTrue response.HasNoContent ""
                                let! content = Client.read response
                                Expect.equal content "" ""
                                Expect.isNull response.Trailers ""
                            }))

                    case "informational responses are handed on, in their order, before the final one" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()
                                do! peer.Headers(stream, [ ":status", "100" ], false)
                                do! peer.Headers(stream, [ ":status", "103"; "link", "</a>" ], false)
                                do! peer.Headers(stream, [ ":status", "103"; "link", "</b>" ], false)
                                do! peer.Respond(stream, "ok")
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let seen = ResizeArray()

                                let request =
                                    UpstreamRequest(
                                        Method = "GET",
                                        Target = "/",
                                        Scheme = "http",
                                        Authority = "a",
                                        OnInformational =
                                            (fun _ status fields ->
                                                ValueTask(
                                                    task {
                                                        do! Task.Delay 50
                                                        seen.Add((status, fields[0].Value))
                                                    }
                                                ))
                                    )

                                let! response = Client.send connection request
                                Expect.equal (List.ofSeq seen) [ 103, "</a>"; 103, "</b>" ] "all of them, first"
                                let! content = Client.read response
                                Expect.equal content "ok" ""
                            }))

                    case "an endpoint sends no more than a reader takes, and other streams go on" (fun () ->
                        let mutable sent = 0

                        let script (peer: RawHttp2) : Task =
                            task {
                                let! slow, _, _, _ = peer.Request()
                                do! peer.Headers(slow, [ ":status", "200" ], false)
                                let window = Http2Options.Default.StreamWindow

                                while sent < window do
                                    let size = min 16_384 (window - sent)
                                    do! peer.Data(slow, Array.zeroCreate size, false)
                                    sent <- sent + size

                                let! other, _, _, _ = peer.Request()
                                do! peer.Respond(other, "quick")
                                // The slow reader begins to read.
                                let mutable waiting = true

                                while waiting do
                                    let! frame = peer.ReadAny()
                                    waiting <- not (frame.Kind = 8uy && frame.Stream = slow)

                                do! peer.Data(slow, text "!", true)
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! slow = Client.send connection (Client.get "/slow")
                                let! other = Client.send connection (Client.get "/quick")
                                let! content = within "the other stream" (Client.read other)
                                Expect.equal content "quick" "a slow reader holds up nobody"
                                let! content = within "the slow stream" (Client.read slow)
                                Expect.equal content.Length (Http2Options.Default.StreamWindow + 1) "all of it"
                            }))

                    case "content that does not fit its length breaks off, after what came before" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()
                                do! peer.Headers(stream, [ ":status", "200"; "content-length", "10" ], false)
                                do! peer.Data(stream, text "short", true)
                                let! reset = peer.Expect 3uy
                                Expect.equal reset.Payload[3] 1uy "PROTOCOL_ERROR"
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port

                                let! error =
                                    task {
                                        try
                                            let! response = Client.send connection (Client.get "/")
                                            return! broken response
                                        with :? UpstreamException as early ->
                                            // The head and the content came together.
                                            return early
                                    }

                                Expect.equal error.Kind FailureKind.MalformedResponse ""
                                Expect.isFalse error.BeforeAnyResponseByte ""
                            }))

                    case "a response that is cut in the piece in which it began is no response" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()

                                do!
                                    peer.SendAll
                                        [
                                            1uy, 4uy, stream, HeaderBlock.plain [ ":status", "200" ]
                                            0uy, 0uy, stream, text "some"
                                            3uy, 0uy, stream, [| 0uy; 0uy; 0uy; 2uy |]
                                        ]
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! error = failed (Client.send connection (Client.get "/"))

                                Expect.equal
                                    (facts error)
                                    (FailureKind.StreamReset, SentState.MayHaveBeenProcessed, Some 2L)
                                    ""

                                Expect.isFalse error.BeforeAnyResponseByte ""
                            }))

                    case "an early response is a response: the content ends without an error" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! head = peer.Expect 1uy
                                let mutable received = 0

                                while received < 65_535 do
                                    let! frame = peer.Expect 0uy
                                    received <- received + frame.Payload.Length

                                do!
                                    peer.SendAll
                                        [
                                            1uy,
                                            5uy,
                                            head.Stream,
                                            HeaderBlock.plain [ ":status", "200"; "grpc-status", "7" ]
                                            3uy, 0uy, head.Stream, [| 0uy; 0uy; 0uy; 0uy |]
                                        ]

                                let! stream, _, _, _ = peer.Request()
                                do! peer.Respond(stream, "next")
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port

                                let unwanted =
                                    TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

                                let copied = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

                                let content =
                                    new SteppedContent(fun sink ->
                                        task {
                                            // More than the window, so that it has to wait.
                                            do! sink.WriteAsync((Array.zeroCreate<byte> 200_000).AsMemory())
                                            do! unwanted.Task
                                            do! sink.WriteAsync((Array.zeroCreate<byte> 200_000).AsMemory())
                                            do! sink.FlushAsync()
                                            copied.SetResult()
                                        })

                                let request =
                                    UpstreamRequest(
                                        Method = "POST",
                                        Target = "/",
                                        Scheme = "http",
                                        Authority = "a",
                                        Content = content,
                                        ContentUnwanted = Action<obj>(fun _ -> unwanted.SetResult())
                                    )

                                let! response = within "the response" (Client.send connection request)
                                let! body = Client.read response
                                Expect.equal body "" ""
                                do! finishes "the copying" copied.Task
                                do! idle connection
                                let! next = Client.send connection (Client.get "/")
                                let! body = Client.read next
                                Expect.equal body "next" "the connection goes on"
                            }))

                    case "after a complete early response the content goes on until the response is let go" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! head = peer.Expect 1uy
                                let! first = peer.Expect 0uy
                                do! peer.Headers(head.Stream, [ ":status", "202" ], true)
                                let! second = peer.Expect 0uy
                                Expect.equal (first.Payload, second.Payload) (text "one", text "two") "the content"
                                let! reset = peer.Expect 3uy
                                Expect.equal reset.Payload [| 0uy; 0uy; 0uy; 0uy |] "NO_ERROR"
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port

                                let responded =
                                    TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

                                let written =
                                    TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

                                let released =
                                    TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

                                let content =
                                    new SteppedContent(fun sink ->
                                        task {
                                            do! sink.WriteAsync((text "one").AsMemory())
                                            do! sink.FlushAsync()
                                            do! responded.Task
                                            do! sink.WriteAsync((text "two").AsMemory())
                                            do! sink.FlushAsync()
                                            written.SetResult()
                                            do! released.Task
                                        })

                                let! response = Client.send connection (Client.post "/" content)
                                responded.SetResult()
                                do! finishes "the second write" written.Task
                                response.Dispose()
                                released.SetResult()
                                do! idle connection
                            }))

                    case "a reader that leaves resets its stream with CANCEL" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()
                                do! peer.Headers(stream, [ ":status", "200" ], false)
                                let! reset = peer.Expect 3uy
                                Expect.equal reset.Payload [| 0uy; 0uy; 0uy; 8uy |] "CANCEL"
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! response = Client.send connection (Client.get "/")
                                response.Dispose()
                                do! idle connection
                            }))

                    case "a caller that leaves: the stream is reset, wherever it is" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                for respond in [ false; true ] do
                                    let! stream, _, _, _ = peer.Request()

                                    if respond then
                                        do! peer.Headers(stream, [ ":status", "200" ], false)

                                    let! reset = peer.Expect 3uy
                                    Expect.equal (reset.Stream, reset.Payload[3]) (stream, 8uy) "CANCEL"

                                // An upload that waits for a window.
                                let! head = peer.Expect 1uy
                                let mutable reading = true

                                while reading do
                                    let! frame = peer.Read()
                                    reading <- frame.Kind = 0uy

                                    if not reading then
                                        Expect.equal
                                            (frame.Kind, frame.Stream, frame.Payload[3])
                                            (3uy, head.Stream, 8uy)
                                            "CANCEL"
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port

                                let canceled what (work: Task) =
                                    failure<OperationCanceledException> what (fun () -> work)

                                use before = new CancellationTokenSource()
                                Expect.isTrue (connection.TryReserve()) ""
                                let pending = connection.SendAsync(Client.get "/", before.Token).AsTask()
                                before.Cancel()
                                let! error = canceled "the head" pending
                                Expect.equal error.CancellationToken before.Token "its token"

                                use inBody = new CancellationTokenSource()
                                Expect.isTrue (connection.TryReserve()) ""
                                let! response = connection.SendAsync(Client.get "/", inBody.Token).AsTask()
                                let! body = response.Content.ReadAsStreamAsync()
                                let read = body.ReadAsync((Array.zeroCreate<byte> 10).AsMemory()).AsTask()
                                inBody.Cancel()
                                let! _ = canceled "the content" read

                                // Before the upload: the peer closes the connection after it.
                                use already = new CancellationTokenSource()
                                already.Cancel()
                                Expect.isTrue (connection.TryReserve()) ""

                                let! _ =
                                    canceled
                                        "the one that never began"
                                        (connection.SendAsync(Client.get "/", already.Token).AsTask())

                                use upload = new CancellationTokenSource()
                                Expect.isTrue (connection.TryReserve()) ""
                                let request = Client.post "/" (new ByteArrayContent(Array.zeroCreate 200_000))
                                let pending = connection.SendAsync(request, upload.Token).AsTask()
                                upload.CancelAfter 50
                                let! _ = canceled "the upload" pending

                                do! idle connection
                            }))
                ]
        ]
