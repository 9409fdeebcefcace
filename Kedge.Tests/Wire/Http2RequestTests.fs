/// Requests over HTTP/2 to endpoints, as the endpoint sees them.
module Kedge.Tests.Wire.Http2RequestTests

open System
open System.IO
open System.Net.Http
open System.Text
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
                "requests"
                [
                    case
                        "a request on the wire: pseudo-header fields first, names in lower case, nothing of the hop"
                        (fun () ->
                            let script (peer: RawHttp2) : Task =
                                task {
                                    let! stream, fields, content, trailers = peer.Request()

                                    Expect.equal
                                        fields
                                        [
                                            ":method", "POST"
                                            ":scheme", "http"
                                            ":authority", "a.example"
                                            ":path", "/p?q=%20"
                                            "content-length", "5"
                                            "x-custom", "\u00e9"
                                            "te", "trailers"
                                            "cookie", "a=1; b=2"
                                        ]
                                        "the header section"

                                    Expect.equal content (text "hello") "the content"
                                    Expect.equal trailers [ "x-checksum", "1" ] "the trailers"
                                    do! peer.Respond(stream, "ok")
                                }

                            against [] script (fun port ->
                                task {
                                    let! connection = Client.start port

                                    let request =
                                        UpstreamRequest(
                                            Method = "POST",
                                            Target = "/p?q=%20",
                                            Scheme = "http",
                                            Authority = "a.example",
                                            Content = new ByteArrayContent(text "hello"),
                                            ContentLength = Nullable 5L,
                                            Trailers =
                                                (fun _ ->
                                                    let trailers = FieldList()
                                                    trailers.Add("X-Checksum", "1")
                                                    trailers)
                                        )

                                    for name, value in
                                        [
                                            "X-Custom", "\u00e9"
                                            "TE", "trailers"
                                            "Connection", "keep-alive"
                                            "Keep-Alive", "5"
                                            "Transfer-Encoding", "chunked"
                                            "Upgrade", "h2c"
                                            "Host", "other"
                                            "Content-Length", "7"
                                            "Cookie", "a=1; b=2"
                                        ] do
                                        request.Fields.Add(name, value)

                                    let! response = Client.send connection request
                                    let! content = Client.read response
                                    Expect.equal content "ok" ""
                                }))

                    case "a small request leaves in one piece, and its last frame ends it" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                // What one read yields after the acknowledgement of the settings was read.
                                let mutable settled = 0

                                while settled < 2 do
                                    let! frame = peer.ReadAny()

                                    if frame.Kind = 4uy then
                                        settled <- settled + 1

                                let buffer = Array.zeroCreate<byte> 4096
                                let! count = peer.Stream.ReadAsync(buffer.AsMemory())
                                let head = (int buffer[0] <<< 16) + (int buffer[1] <<< 8) + int buffer[2] + 9
                                Expect.equal (buffer[3], buffer[4]) (1uy, 4uy) "HEADERS"
                                Expect.equal buffer[head + 3 .. head + 4] [| 0uy; 1uy |] "DATA with END_STREAM"
                                Expect.equal count (head + 9 + 5) "nothing else"
                                do! peer.Respond(1, "ok")
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port

                                let! response =
                                    Client.send connection (Client.post "/" (new ByteArrayContent(text "hello")))

                                let! content = Client.read response
                                Expect.equal content "ok" ""
                            }))

                    case "what must not be in a request is refused, and the connection goes on" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, fields, _, _ = peer.Request()
                                Expect.contains fields (":path", "/good") "the only one that came"
                                do! peer.Respond(stream, "ok")
                            }

                        against [ 6, 400u ] script (fun port ->
                            task {
                                let! connection = Client.start port

                                let withField name value =
                                    let request = Client.get "/bad"
                                    request.Fields.Add(name, value)
                                    request

                                for request in
                                    [
                                        withField "x" "a\r\nb: c"
                                        withField "x" "a\000"
                                        withField "x" "\u0416"
                                        withField "x" " a"
                                        withField "x y" "a"
                                        withField "" "a"
                                        withField ":path" "/other"
                                        withField "x\r\nb" "a"
                                        withField "x" (String('v', 400))
                                        Client.get "/a b"
                                        Client.get "/a\r\nb"
                                        Client.get ""
                                        UpstreamRequest(
                                            Method = "GET ",
                                            Target = "/",
                                            Scheme = "http",
                                            Authority = "a.example"
                                        )
                                        UpstreamRequest(
                                            Method = "GET",
                                            Target = "/",
                                            Scheme = "http",
                                            Authority = "a example"
                                        )
                                    ] do
                                    let! error = failed (Client.send connection request)

                                    Expect.equal
                                        (facts error)
                                        (FailureKind.InvalidRequest, SentState.NothingSent, None)
                                        ""

                                let! response = Client.send connection (Client.get "/good")
                                let! content = Client.read response
                                Expect.equal content "ok" ""
                                do! idle connection
                            }))

                    case "content waits for windows, of the stream and of the connection" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! head = peer.Expect 1uy
                                let! first = peer.Expect 0uy
                                Expect.equal first.Payload.Length 10 "the initial window"
                                do! peer.Window(head.Stream, 20)
                                let! second = peer.Expect 0uy
                                Expect.equal second.Payload.Length 20 "what was given"
                                do! peer.Settings [ 4, 15u ]
                                let! third = peer.Expect 0uy
                                Expect.equal third.Payload.Length 5 "the setting applies to open streams"
                                do! peer.Window(head.Stream, 100_000)
                                let mutable received = 35

                                while received < 65_535 do
                                    let! frame = peer.Expect 0uy
                                    received <- received + frame.Payload.Length

                                Expect.equal received 65_535 "the window of the connection"
                                do! peer.Window(0, 100_000)

                                while received < 80_000 do
                                    let! frame = peer.Expect 0uy
                                    received <- received + frame.Payload.Length

                                do! peer.Respond(head.Stream, "ok")
                            }

                        against [ 4, 10u ] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let request = Client.post "/" (new ByteArrayContent(Array.zeroCreate 80_000))
                                let! response = Client.send connection request
                                let! content = Client.read response
                                Expect.equal content "ok" ""
                            }))

                    case "streams that wait take turns" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! _ = peer.Expect 1uy
                                let mutable received = 0

                                while received < 65_535 do
                                    let! frame = peer.Expect 0uy
                                    received <- received + frame.Payload.Length

                                let! second = peer.Expect 1uy
                                Expect.equal second.Stream 3 "the second request"
                                do! peer.Window(1, 1_000_000)
                                do! peer.Window(0, 64 * 1024)
                                let turns = ResizeArray()

                                while Seq.sumBy snd turns < 64 * 1024 do
                                    let! frame = peer.Expect 0uy
                                    turns.Add((frame.Stream, frame.Payload.Length))

                                let share = turns |> Seq.filter (fun (stream, _) -> stream = 3) |> Seq.sumBy snd
                                Expect.equal share (32 * 1024) "half of it is for the second"
                                do! peer.Respond(1, "ok")
                                do! peer.Respond(3, "ok")
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let large () = Client.post "/" (new ByteArrayContent(Array.zeroCreate 500_000))
                                let first = Client.send connection (large ())
                                let second = Client.send connection (large ())
                                let! first = within "the first" first
                                let! second = within "the second" second
                                first.Dispose()
                                second.Dispose()
                                do! idle connection
                            }))

                    case "content that fails resets its stream" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! _ = peer.Expect 1uy
                                let! reset = peer.Expect 3uy
                                Expect.equal (reset.Stream, reset.Payload) (1, [| 0uy; 0uy; 0uy; 8uy |]) "CANCEL"
                                let! stream, _, _, _ = peer.Request()
                                do! peer.Respond(stream, "ok")
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port

                                let content =
                                    new SteppedContent(fun _ -> task { raise (InvalidDataException "no more") })

                                let! error = failed (Client.send connection (Client.post "/" content))

                                Expect.equal
                                    (facts error)
                                    (FailureKind.ContentFailed, SentState.MayHaveBeenProcessed, None)
                                    ""

                                Expect.equal (nonNull error.InnerException).Message "no more" "its cause"
                                let! response = Client.send connection (Client.get "/")
                                response.Dispose()
                                do! idle connection
                            }))

                    case "content of another length than was said fails" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! _ = peer.ReadToEnd()
                                ()
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port

                                for length in [ 4L; 6L ] do
                                    let request = Client.post "/" (new ByteArrayContent(text "hello"))
                                    request.ContentLength <- Nullable length
                                    let! error = failed (Client.send connection request)
                                    Expect.equal error.Kind FailureKind.ContentFailed $"5 bytes instead of {length}"

                                connection.Retire()
                            }))

                    case "Expect: 100-continue: the content waits for the 100" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! head = peer.Expect 1uy
                                do! peer.Headers(head.Stream, [ ":status", "100" ], false)
                                let! content = peer.Expect 0uy
                                Expect.equal content.Payload (text "hello") ""
                                do! peer.Respond(head.Stream, "ok")
                            }

                        against [] script (fun port ->
                            task {
                                let options = Http2Options(ContinueTimeout = TimeSpan.FromMinutes 10.0)
                                let! connection = Client.startAt port options (RecordingOwner())

                                let request =
                                    UpstreamRequest(
                                        Method = "POST",
                                        Target = "/",
                                        Scheme = "http",
                                        Authority = "a",
                                        Content = new ByteArrayContent(text "hello"),
                                        ExpectsContinue = true
                                    )

                                let! response = within "the response" (Client.send connection request)
                                let! content = Client.read response
                                Expect.equal content "ok" ""
                            }))

                    case "Expect: 100-continue: a final response leaves the content where it is" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! head = peer.Expect 1uy
                                do! peer.Headers(head.Stream, [ ":status", "417" ], true)
                                let! reset = peer.Expect 3uy
                                Expect.equal reset.Payload [| 0uy; 0uy; 0uy; 0uy |] "NO_ERROR"
                            }

                        against [] script (fun port ->
                            task {
                                let options = Http2Options(ContinueTimeout = TimeSpan.FromMinutes 10.0)
                                let! connection = Client.startAt port options (RecordingOwner())
                                let mutable asked = false

                                let content =
                                    new SteppedContent(fun _ ->
                                        asked <- true
                                        Task.CompletedTask)

                                let request =
                                    UpstreamRequest(
                                        Method = "POST",
                                        Target = "/",
                                        Scheme = "http",
                                        Authority = "a",
                                        Content = content,
                                        ExpectsContinue = true
                                    )

                                let! response = within "the response" (Client.send connection request)
                                Expect.equal (int response.StatusCode) 417 ""
                                response.Dispose()
                                do! idle connection
                                Expect.isFalse asked "the content was not asked for"
                            }))

                    case "Expect: 100-continue: after a while without an answer the content goes out" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, content, _ = peer.Request()
                                Expect.equal content (text "hello") ""
                                do! peer.Respond(stream, "ok")
                            }

                        against [] script (fun port ->
                            task {
                                let options = Http2Options(ContinueTimeout = TimeSpan.FromMilliseconds 50.0)
                                let! connection = Client.startAt port options (RecordingOwner())

                                let request =
                                    UpstreamRequest(
                                        Method = "POST",
                                        Target = "/",
                                        Scheme = "http",
                                        Authority = "a",
                                        Content = new ByteArrayContent(text "hello"),
                                        ExpectsContinue = true
                                    )

                                let! response = within "the response" (Client.send connection request)
                                let! content = Client.read response
                                Expect.equal content "ok" ""
                            }))
                ]
        ]
