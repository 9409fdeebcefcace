/// HTTP/2 connections to endpoints, against a server that writes what a test says.
module Kedge.Tests.Wire.Http2ConnectionTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Wire.Http2
open Kedge.Wire.Sockets
open Kedge.Wire.Upstream

let private text (value: string) = Encoding.Latin1.GetBytes value

/// Runs the test against a server with that script; the script may not fail.
let private against settings (script: RawHttp2 -> Task) (test: int -> Task<unit>) =
    task {
        use server = new RawHttp2Server(settings, script)
        do! test server.Port

        match server.Failures with
        | [] -> ()
        | error :: _ -> raise (AggregateException("the server's script failed", error))
    }

let private failed (work: Task<UpstreamResponse>) : Task<UpstreamException> =
    failure<UpstreamException> "a request" (fun () -> work :> Task)

/// The failure of reading the content.
let private broken (response: UpstreamResponse) : Task<UpstreamException> =
    failure<UpstreamException> "a response" (fun () -> Client.read response :> Task)

let private facts (error: UpstreamException) = error.Kind, error.Sent, Option.ofNullable error.Http2ErrorCode

let private idle (connection: IUpstreamConnection) =
    eventually "the connection is idle" (fun () -> connection.ActiveStreams = 0)

let private short =
    Http2Options(PingAfter = TimeSpan.FromMilliseconds 100.0, PingTimeout = TimeSpan.FromMilliseconds 400.0)

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

            testList
                "facts about failures"
                [
                    case "a refused stream was not processed" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()
                                do! peer.Reset(stream, 7u)
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! error = failed (Client.send connection (Client.get "/"))

                                Expect.equal
                                    (facts error)
                                    (FailureKind.StreamReset, SentState.CertainlyNotProcessed, Some 7L)
                                    ""

                                Expect.isTrue error.BeforeAnyResponseByte ""
                                Expect.isFalse error.ConnectionWasReused ""
                            }))

                    case "a reused connection that closes unanswered" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! first, _, _, _ = peer.Request()
                                do! peer.Respond(first, "first")
                                let! _ = peer.Request()
                                ()
                            }

                        against [] script (fun port ->
                            task {
                                let owner = RecordingOwner()
                                let! connection = Client.startAt port Http2Options.Default owner
                                let! first = Client.send connection (Client.get "/")
                                let! _ = Client.read first
                                let! error = failed (Client.send connection (Client.get "/"))

                                Expect.equal
                                    (facts error)
                                    (FailureKind.Closed, SentState.MayHaveBeenProcessed, None)
                                    ""

                                Expect.isTrue error.ConnectionWasReused ""
                                Expect.isTrue error.BeforeAnyResponseByte ""

                                do!
                                    eventually "the owner hears of it" (fun () ->
                                        owner.Retired = 1 && owner.Closed = 1)

                                Expect.isFalse (connection.TryReserve()) "it takes no more"
                            }))

                    case "GOAWAY leaves out an upload that waits for its window" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! _ = peer.Expect 1uy
                                let mutable received = 0

                                while received < 65_535 do
                                    let! frame = peer.Expect 0uy
                                    received <- received + frame.Payload.Length

                                do! peer.GoAway(0, 0u)
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let request = Client.post "/" (new ByteArrayContent(Array.zeroCreate 200_000))
                                let! error = failed (Client.send connection request)

                                Expect.equal
                                    (facts error)
                                    (FailureKind.GoAway, SentState.CertainlyNotProcessed, Some 0L)
                                    ""
                            }))

                    case "GOAWAY is heard even when the connection breaks while something is sent" (fun () ->
                        // With unread bytes of its own, the server's close is a reset.
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! _ = peer.Expect 1uy
                                do! peer.Window(0, 10_000_000)
                                do! peer.Window(1, 10_000_000)
                                do! peer.GoAway(0, 0u)
                                do! Task.Delay 50
                                peer.Stream.Socket.Shutdown SocketShutdown.Send
                                peer.Stream.Socket.Close()
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let request = Client.post "/" (new ByteArrayContent(Array.zeroCreate 9_000_000))
                                let! error = failed (Client.send connection request)
                                Expect.equal error.Sent SentState.CertainlyNotProcessed (string error)
                            }))

                    case "a graceful GOAWAY lets covered streams end, then the connection closes" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! first, _, _, _ = peer.Request()
                                do! peer.GoAway(Int32.MaxValue, 0u)
                                do! peer.GoAway(first, 0u)
                                do! Task.Delay 50
                                do! peer.Respond(first, "last")
                                let! rest = peer.ReadToEnd()

                                Expect.equal
                                    [ for frame in rest -> frame.Kind ]
                                    [ 7uy ]
                                    "the client says goodbye, and closes"
                            }

                        against [] script (fun port ->
                            task {
                                let owner = RecordingOwner()
                                let! connection = Client.startAt port Http2Options.Default owner
                                let! response = Client.send connection (Client.get "/")
                                Expect.isFalse (connection.TryReserve()) "it takes no more"
                                let! content = Client.read response
                                Expect.equal content "last" ""
                                do! eventually "it closes" (fun () -> owner.Retired = 1 && owner.Closed = 1)
                            }))

                    case
                        "GOAWAY with an error fails what it covers at once, though the connection stays open"
                        (fun () ->
                            let script (peer: RawHttp2) : Task =
                                task {
                                    let! first, _, _, _ = peer.Request()
                                    let! second, _, _, _ = peer.Request()
                                    Expect.equal (first, second) (1, 3) ""
                                    do! peer.GoAway(first, 9u)
                                    let! _ = peer.ReadToEnd()
                                    ()
                                }

                            against [] script (fun port ->
                                task {
                                    let owner = RecordingOwner()
                                    let! connection = Client.startAt port Http2Options.Default owner
                                    let first = Client.send connection (Client.get "/")
                                    let second = Client.send connection (Client.get "/")
                                    let! error = failed first

                                    Expect.equal
                                        (facts error)
                                        (FailureKind.GoAway, SentState.MayHaveBeenProcessed, Some 9L)
                                        "covered"

                                    let! error = failed second

                                    Expect.equal
                                        (facts error)
                                        (FailureKind.GoAway, SentState.CertainlyNotProcessed, Some 9L)
                                        "left out"

                                    do! eventually "it closes" (fun () -> owner.Closed = 1)
                                }))

                    case "a violation ends the connection with GOAWAY, and every stream on it" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! _ = peer.Request()
                                do! peer.Send(9uy, 4uy, 1, [||])
                                let! frames = peer.ReadToEnd()

                                Expect.equal
                                    [ for frame in frames -> frame.Kind, frame.Payload[7] ]
                                    [ 7uy, 1uy ]
                                    "PROTOCOL_ERROR"
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! error = failed (Client.send connection (Client.get "/"))

                                Expect.equal
                                    (facts error)
                                    (FailureKind.MalformedResponse, SentState.MayHaveBeenProcessed, None)
                                    ""
                            }))
                ]

            testList
                "connections"
                [
                    case "a connection is there when the endpoint's settings have come, and keeps to them" (fun () ->
                        let mutable isSettled = false

                        let peer =
                            new RawPeer(fun stream ->
                                task {
                                    let peer = RawHttp2 stream
                                    do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(24).AsMemory())
                                    do! Task.Delay 200
                                    isSettled <- true
                                    do! peer.Settings [ 3, 2u ]
                                    let! first, _, _, _ = peer.Request()
                                    let! _ = peer.Request()
                                    do! peer.Respond(first, "first")
                                    let! _ = peer.ReadToEnd()
                                    ()
                                })

                        task {
                            use _ = peer
                            let owner = RecordingOwner()
                            let! connection = Client.startAt peer.Port Http2Options.Default owner
                            Expect.isTrue isSettled "it has waited"
                            Expect.equal connection.FreeStreams 2 ""
                            let first = Client.send connection (Client.get "/")
                            Expect.isTrue (connection.TryReserve()) "the second place"
                            Expect.isFalse (connection.TryReserve()) "the third"
                            Expect.equal connection.ActiveStreams 2 ""
                            let second = connection.SendAsync(Client.get "/", CancellationToken.None).AsTask()
                            let! first = first
                            let! _ = Client.read first
                            do! eventually "the owner hears that there is room" (fun () -> owner.Available = 1)
                            Expect.equal connection.FreeStreams 1 ""
                            Expect.isTrue (isNull (box connection.IdleSince) || connection.ActiveStreams = 1) ""
                            connection.Retire()
                            Expect.equal connection.FreeStreams 0 "it takes no more"
                            Expect.equal owner.Retired 1 ""
                            Expect.equal owner.Closed 0 "a request is in flight"
                            ignore second
                        })

                    case "an endpoint that sends no settings, closes, or speaks HTTP/1.1 is no connection" (fun () ->
                        task {
                            let options = Http2Options(SettingsTimeout = TimeSpan.FromMilliseconds 200.0)
                            use silent = RawPeer.Hanging()

                            use http1 =
                                RawPeer.Answering "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

                            use closing =
                                new RawPeer(fun stream ->
                                    task { do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(24).AsMemory()) })

                            for port, words in
                                [
                                    silent.Port, "sent no HTTP/2 SETTINGS within 0.2 s"
                                    http1.Port, "speaks HTTP/1, not HTTP/2"
                                    closing.Port, "no HTTP/2 connection"
                                ] do
                                let! error =
                                    failure<UpstreamException> "a connection" (fun () ->
                                        Client.startAt port options (RecordingOwner()) :> Task)

                                Expect.equal (facts error) (FailureKind.Connect, SentState.NothingSent, None) ""
                                Expect.stringContains error.Message words ""
                        })

                    case "an idle connection that retires says goodbye and closes" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! frames = peer.ReadToEnd()

                                Expect.equal
                                    [ for frame in frames -> frame.Kind, frame.Payload[7] ]
                                    [ 7uy, 0uy ]
                                    "GOAWAY, NO_ERROR"
                            }

                        against [] script (fun port ->
                            task {
                                let owner = RecordingOwner()
                                let! connection = Client.startAt port Http2Options.Default owner
                                Expect.isTrue connection.IdleSince.HasValue "it is idle"
                                connection.Retire()
                                do! eventually "it closes" (fun () -> owner.Retired = 1 && owner.Closed = 1)
                            }))

                    case "PING is answered" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                do! peer.Send(6uy, 0uy, 0, [| 1uy .. 8uy |])
                                let mutable answer = None
                                let mutable request = None

                                // The request may come before the answer.
                                while answer.IsNone || request.IsNone do
                                    let! frame = peer.ReadAny()

                                    match frame.Kind with
                                    | 1uy -> request <- Some frame.Stream
                                    | 6uy -> answer <- Some(frame.Flags, frame.Payload)
                                    | _ -> ()

                                Expect.equal answer (Some(1uy, [| 1uy .. 8uy |])) ""
                                do! peer.Respond(request.Value, "ok")
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.start port
                                let! response = Client.send connection (Client.get "/")
                                let! content = Client.read response
                                Expect.equal content "ok" ""
                            }))

                    case "a silent endpoint is asked whether it is there, and lost when it is not" (fun () ->
                        let script (peer: RawHttp2) : Task =
                            task {
                                let! _ = peer.Expect 1uy
                                let mutable ping = false

                                while not ping do
                                    let! frame = peer.ReadAny()
                                    ping <- frame.Kind = 6uy

                                // No answer.
                                let! _ = peer.ReadToEnd()
                                ()
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.startAt port short (RecordingOwner())
                                let! error = failed (Client.send connection (Client.get "/"))

                                Expect.equal
                                    (facts error)
                                    (FailureKind.Closed, SentState.MayHaveBeenProcessed, None)
                                    ""

                                Expect.stringContains error.Message "PING" ""
                            }))

                    case
                        "an endpoint that answers PING may take its time, and is not asked again in the same silence"
                        (fun () ->
                            let mutable pings = 0

                            let script (peer: RawHttp2) : Task =
                                task {
                                    let! head = peer.Expect 1uy

                                    let answer: Task =
                                        task {
                                            while true do
                                                let! frame = peer.ReadAny()

                                                if frame.Kind = 6uy then
                                                    pings <- pings + 1
                                                    do! peer.Send(6uy, 1uy, 0, frame.Payload)
                                        }

                                    do! eventually "a PING comes" (fun () -> pings = 1)

                                    do!
                                        Absence.during (TimeSpan.FromSeconds 1.5) "a second PING" (fun () ->
                                            Task.FromResult(pings > 1))

                                    do! peer.Respond(head.Stream, "at last")
                                    ignore answer
                                }

                            against [] script (fun port ->
                                task {
                                    let! connection = Client.startAt port short (RecordingOwner())
                                    let! response = Client.send connection (Client.get "/")
                                    let! content = Client.read response
                                    Expect.equal content "at last" ""
                                }))

                    case "no PING without streams" (fun () ->
                        let mutable pings = 0

                        let script (peer: RawHttp2) : Task =
                            task {
                                let! stream, _, _, _ = peer.Request()
                                do! peer.Respond(stream, "ok")

                                while true do
                                    let! frame = peer.ReadAny()

                                    if frame.Kind = 6uy then
                                        pings <- pings + 1
                            }

                        against [] script (fun port ->
                            task {
                                let! connection = Client.startAt port short (RecordingOwner())
                                let! response = Client.send connection (Client.get "/")
                                let! _ = Client.read response

                                do!
                                    Absence.during (TimeSpan.FromSeconds 1.0) "a PING" (fun () ->
                                        Task.FromResult(pings > 0))
                            }))
                ]
        ]
