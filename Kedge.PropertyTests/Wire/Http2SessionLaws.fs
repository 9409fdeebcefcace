/// The client's end of an HTTP/2 connection, without sockets (RFC 9113).
module Kedge.PropertyTests.Wire.Http2SessionLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Http2
open Kedge.Wire.Upstream

let private ok = [| 0x88uy |]

let private options = Http2Options.Default

let private text (value: string) = Encoding.Latin1.GetBytes value

let private isTerminal event =
    match event with
    | Failed _
    | End _
    | Head(_, _, _, true) -> true
    | _ -> false

/// The code of the last GOAWAY that was written.
let private farewell (session: Session) =
    session.Written()
    |> PeerFrame.parse
    |> List.filter (fun frame -> frame.Kind = 7uy)
    |> List.tryLast
    |> Option.map (fun frame -> frame.Payload[7])

// Frames of a peer ------------------------------------------------------------------------------------------------

let private streamIds =
    Gen.frequency
        [
            (8, Gen.elements [ 1; 3; 5 ])
            (1, Gen.elements [ 0; 2; 7; 9; Int32.MaxValue ])
        ]

let private someBytes most = Gen.choose (0, most) |> Gen.map (fun length -> Array.init length byte)

let private heads =
    Gen.frequency
        [
            (6, Gen.constant ok)
            (2,
             Gen.elements
                 [
                     PeerFrame.block [ ":status", "200"; "content-type", "application/grpc"; "x-a", "b" ]
                     PeerFrame.block [ ":status", "404"; "content-length", "5" ]
                     PeerFrame.block [ ":status", "103"; "link", "</a>" ]
                     PeerFrame.block [ "grpc-status", "0" ]
                     [||]
                 ])
            (1,
             Gen.elements
                 [
                     PeerFrame.block [ ":status", "2x0" ]
                     PeerFrame.block [ "x", "y"; ":status", "200" ]
                     PeerFrame.block [ ":status", "200"; "Upper", "y" ]
                     PeerFrame.block [ ":status", "200"; "x", "a\r\nb" ]
                     PeerFrame.block [ ":status", "200"; "connection", "close" ]
                     [| 0xFFuy |]
                 ])
            (1, someBytes 20)
        ]

let private soundFrames =
    Gen.frequency
        [
            (6, Gen.map3 PeerFrame.headers streamIds (Gen.elements [ true; false; false ]) heads)
            (6, Gen.map3 PeerFrame.data streamIds (Gen.elements [ true; false; false ]) (someBytes 3000))
            (1, Gen.map2 PeerFrame.reset streamIds (Gen.elements [ 0u; 2u; 7u; 8u ]))
            (1,
             Gen.map
                 PeerFrame.settings
                 (Gen.listOf (
                     Gen.zip
                         (Gen.choose (1, 9))
                         (Gen.elements [ 0u; 1u; 100u; 16384u; 65535u; 0x7FFFFFFFu; 0xFFFFFFFFu ])
                 )))
            (1, Gen.constant PeerFrame.ping)
            (1, Gen.map2 PeerFrame.window streamIds (Gen.elements [ 0u; 1u; 65535u; 0x7FFFFFFFu ]))
            (1, Gen.map2 PeerFrame.goAway (Gen.elements [ 0; 1; 3; 5; Int32.MaxValue ]) (Gen.elements [ 0u; 2u; 11u ]))
        ]

let private anyFrames =
    Gen.frequency
        [
            (12, soundFrames)
            (1,
             gen {
                 let! kind = Gen.choose (0, 12)
                 let! flags = Gen.choose (0, 255)
                 let! stream = streamIds
                 let! payload = someBytes 40
                 return PeerFrame.make (byte kind) (byte flags) stream payload
             })
        ]

/// Frames after the peer's settings, and lengths by which their bytes are cut.
let private conversations =
    Gen.zip
        (Gen.listOf anyFrames |> Gen.map (fun frames -> PeerFrame.settings [] :: frames))
        (Gen.nonEmptyListOf (Gen.frequency [ (3, Gen.choose (1, 30)); (1, Gen.choose (1, 5000)) ]))

let private cut (lengths: int list) (bytes: byte array) =
    [
        let mutable at = 0
        let mutable next = lengths

        while at < bytes.Length do
            if next.IsEmpty then
                next <- lengths

            let length = min next.Head (bytes.Length - at)
            next <- next.Tail
            bytes[at .. at + length - 1]
            at <- at + length
    ]

/// A session with three open streams, of which the last one's request goes on.
let private begun () =
    let session = Session options
    session.Receive [ PeerFrame.settings [] ]
    session.Open true |> ignore
    session.Open true |> ignore
    session.Open false |> ignore
    session.Written() |> ignore
    session

let private outcome (session: Session) =
    [ for stream in session.Streams -> stream.Events ],
    session.Written(),
    session.Inner.Count,
    session.Inner.FreeStreams

// The window that each side has of the other -------------------------------------------------------------------------

type private FlowStep =
    | Write of stream: int * length: int
    | Grant of stream: int * increment: int
    | Resize of window: int

let private flowSteps =
    Gen.frequency
        [
            (3, Gen.map2 (fun stream length -> Write(stream, length)) (Gen.choose (0, 2)) (Gen.choose (0, 60_000)))
            (2,
             Gen.map2 (fun stream increment -> Grant(stream, increment)) (Gen.choose (-1, 2)) (Gen.choose (1, 50_000)))
            (1, Gen.map Resize (Gen.choose (0, 100_000)))
        ]

let private keepsWindows (seen: Seen) (steps: FlowStep list) =
    let session = Session.Ready(options, 3, false)
    session.Written() |> ignore
    let granted = Array.create 3 65_535L
    let sent = Array.create 3 0L
    let mutable connection = 65_535L
    let mutable initial = 65_535L
    let accepted = Array.create 3 0L

    for step in steps do
        match step with
        | Write(stream, length) ->
            let content = Array.zeroCreate<byte> length

            let taken =
                session.Inner.Send(session.Streams[stream], ReadOnlySpan content, Int32.MaxValue, false)

            accepted[stream] <- accepted[stream] + int64 taken
            seen.When("stopped by a window", taken < length)
        | Grant(-1, increment) ->
            session.Receive [ PeerFrame.window 0 (uint32 increment) ]
            connection <- connection + int64 increment
        | Grant(stream, increment) ->
            session.Receive [ PeerFrame.window (2 * stream + 1) (uint32 increment) ]
            granted[stream] <- granted[stream] + int64 increment
        | Resize window ->
            session.Receive [ PeerFrame.settings [ 4, uint32 window ] ]

            for stream in 0..2 do
                granted[stream] <- granted[stream] + int64 window - initial

            initial <- int64 window

        for frame in PeerFrame.parse (session.Written()) do
            if frame.Kind = 0uy then
                let stream = (frame.Stream - 1) / 2
                sent[stream] <- sent[stream] + int64 frame.Payload.Length
                connection <- connection - int64 frame.Payload.Length
                Expect.isLessThanOrEqual frame.Payload.Length 16_384 "no frame is larger than any peer takes"
                Expect.isLessThanOrEqual sent[stream] granted[stream] "the window of the stream"
                Expect.isGreaterThanOrEqual connection 0L "the window of the connection"

    Expect.equal sent accepted "what was taken was sent"
    Expect.isNull session.Inner.Failure "the peer kept the rules"

/// A peer that sends as much as it may, and a reader that takes some of it.
let private neverStarves (seen: Seen) (reads: int list) =
    let session = Session.Ready(options, 1, true)
    session.Written() |> ignore
    session.Receive [ PeerFrame.headers 1 false ok ]
    let stream = session.Streams[0]
    let mutable streamWindow = options.StreamWindow
    let mutable connectionWindow = options.ConnectionWindow
    let mutable unread = 0
    let mutable total = 0

    for read in reads do
        let length = List.min [ 16_384; streamWindow; connectionWindow ]
        seen.When("the window is used up", (length = 0))

        if length > 0 then
            session.Receive [ PeerFrame.data 1 false (Array.zeroCreate length) ]
            streamWindow <- streamWindow - length
            connectionWindow <- connectionWindow - length
            unread <- unread + length
            total <- total + length

        let count = min read unread
        unread <- unread - count
        session.Inner.Consumed(stream, count, (unread = 0))

        for frame in PeerFrame.parse (session.Written()) do
            if frame.Kind = 8uy then
                let increment =
                    int frame.Payload[3]
                    + (int frame.Payload[2] <<< 8)
                    + (int frame.Payload[1] <<< 16)

                if frame.Stream = 0 then
                    connectionWindow <- connectionWindow + increment
                else
                    streamWindow <- streamWindow + increment

        Expect.isLessThanOrEqual unread options.MaxStreamWindow "what a reader leaves unread is bounded"

        if unread = 0 then
            Expect.isGreaterThan (min streamWindow connectionWindow) 0 "who reads everything can be sent more"

    seen.When("the window has grown", total > 2 * options.MaxStreamWindow)
    Expect.isNull session.Inner.Failure "the peer kept the rules"

// Responses ---------------------------------------------------------------------------------------------------------

let private malformed =
    [
        "no status", [ PeerFrame.headers 1 false (PeerFrame.block [ "x", "y" ]) ]
        "an empty header section", [ PeerFrame.headers 1 false [||] ]
        "two statuses",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; ":status", "200" ])
        ]
        "a status after a field", [ PeerFrame.headers 1 false (PeerFrame.block [ "x", "y"; ":status", "200" ]) ]
        "a status of letters", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "abc" ]) ]
        "status 000", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "000" ]) ]
        "status 99", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "99" ]) ]
        "status 0200", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "0200" ]) ]
        "status 101", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "101" ]) ]
        "a request's pseudo-header field",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; ":path", "/" ])
        ]
        "an unknown pseudo-header field",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; ":new", "1" ])
        ]
        "a name in upper case", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "X-A", "b" ]) ]
        "an empty name", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "", "b" ]) ]
        "a name with a space", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x a", "b" ]) ]
        "a name with a colon", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x:", "b" ]) ]
        "a name beyond ASCII",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x\u00e9", "b" ])
        ]
        "a value with CR and LF",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x", "a\r\nset-cookie: b" ])
        ]
        "a value with NUL",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x", "a\000" ])
        ]
        "a value with DEL",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x", "a\127" ])
        ]
        "a value that begins with a space",
        [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x", " a" ]) ]
        "a value that ends with a tab", [ PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "x", "a\t" ]) ]
        "connection",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "connection", "close" ])
        ]
        "transfer-encoding",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "transfer-encoding", "chunked" ])
        ]
        "keep-alive",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "keep-alive", "5" ])
        ]
        "upgrade",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "upgrade", "h2c" ])
        ]
        "proxy-connection",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "proxy-connection", "close" ])
        ]
        "a length that is no number",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "content-length", "1x" ])
        ]
        "a signed length",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "content-length", "+1" ])
        ]
        "two lengths",
        [
            PeerFrame.headers
                1
                false
                (PeerFrame.block [ ":status", "200"; "content-length", "1"; "content-length", "1" ])
        ]
        "a length beyond 63 bits",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "content-length", "99999999999999999999" ])
        ]
        "an end without the content of the length",
        [
            PeerFrame.headers 1 true (PeerFrame.block [ ":status", "200"; "content-length", "1" ])
        ]
        "less content than the length",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "content-length", "5" ])
            PeerFrame.data 1 true (text "1234")
        ]
        "more content than the length",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "content-length", "5" ])
            PeerFrame.data 1 false (text "123456")
        ]
        "trailers before the content of the length",
        [
            PeerFrame.headers 1 false (PeerFrame.block [ ":status", "200"; "content-length", "5" ])
            PeerFrame.headers 1 true (PeerFrame.block [ "x", "y" ])
        ]
        "content before the header section", [ PeerFrame.data 1 false (text "x") ]
        "an end before the header section", [ PeerFrame.data 1 true [||] ]
        "an informational response that ends it", [ PeerFrame.headers 1 true (PeerFrame.block [ ":status", "103" ]) ]
        "trailers that do not end it",
        [
            PeerFrame.headers 1 false ok
            PeerFrame.headers 1 false (PeerFrame.block [ "x", "y" ])
        ]
        "a status in trailers",
        [
            PeerFrame.headers 1 false ok
            PeerFrame.headers 1 true (PeerFrame.block [ ":status", "200" ])
        ]
        "upper case in trailers",
        [
            PeerFrame.headers 1 false ok
            PeerFrame.headers 1 true (PeerFrame.block [ "X", "y" ])
        ]
        "a window that grows by nothing", [ PeerFrame.window 1 0u ]
        "a window that grows too much", [ PeerFrame.window 1 0x7FFFFFFFu ]
    ]

let private malformedTest (name, frames) =
    testCase $"{name}: that stream fails, the others go on" (fun () ->
        let session = Session.Ready(options, 2, false)
        session.Written() |> ignore
        session.Receive frames

        match List.last session.Streams[0].Events with
        | Failed(FailureKind.MalformedResponse, SentState.MayHaveBeenProcessed, None) -> ()
        | other -> failtestf "%A" other

        let resets =
            session.Written()
            |> PeerFrame.parse
            |> List.filter (fun frame -> frame.Kind = 3uy)

        Expect.equal [ for frame in resets -> frame.Stream ] [ 1 ] "a reset"
        Expect.isTrue (List.contains resets[0].Payload[3] [ 1uy; 3uy ]) "PROTOCOL_ERROR or FLOW_CONTROL_ERROR"
        session.Receive [ PeerFrame.headers 3 true ok ]
        Expect.equal session.Streams[1].Events [ Head(200, [], None, true) ] "the other stream"
        Expect.isNull session.Inner.Failure "the connection goes on")

/// What ends the connection, and with what code.
let private violations =
    [
        "too many informational responses",
        11,
        List.replicate (options.MaxInformational + 1) (PeerFrame.headers 1 false (PeerFrame.block [ ":status", "103" ]))
        "DATA on no stream", 1, [ PeerFrame.data 0 false [||] ]
        "HEADERS on no stream", 1, [ PeerFrame.headers 0 false ok ]
        "RST_STREAM on no stream", 1, [ PeerFrame.reset 0 8u ]
        "PRIORITY on no stream", 1, [ PeerFrame.make 2uy 0uy 0 (Array.zeroCreate 5) ]
        "SETTINGS on a stream",
        1,
        [
            { PeerFrame.settings [] with
                Stream = 1
            }
        ]
        "PING on a stream", 1, [ { PeerFrame.ping with Stream = 1 } ]
        "GOAWAY on a stream",
        1,
        [
            { PeerFrame.goAway 0 0u with
                Stream = 1
            }
        ]
        "DATA on a stream that was never opened", 1, [ PeerFrame.data 5 false [||] ]
        "HEADERS on a stream that was never opened", 1, [ PeerFrame.headers 5 false ok ]
        "WINDOW_UPDATE on a stream that was never opened", 1, [ PeerFrame.window 5 1u ]
        "RST_STREAM on a stream of the peer", 1, [ PeerFrame.reset 2 8u ]
        "PUSH_PROMISE", 1, [ PeerFrame.make 5uy 4uy 1 (Array.append (PeerFrame.number 2u) ok) ]
        "CONTINUATION after nothing", 1, [ PeerFrame.make 9uy 4uy 1 ok ]
        "another frame within a header block", 1, [ PeerFrame.make 1uy 0uy 1 ok; PeerFrame.ping ]
        "CONTINUATION of another stream", 1, [ PeerFrame.make 1uy 0uy 1 ok; PeerFrame.make 9uy 4uy 3 [||] ]
        "padding as long as the frame", 1, [ PeerFrame.make 0uy 8uy 1 [| 1uy |] ]
        "padding without its length", 1, [ PeerFrame.make 0uy 8uy 1 [||] ]
        "a push setting of a server", 1, [ PeerFrame.settings [ 2, 1u ] ]
        "a frame size below the least", 1, [ PeerFrame.settings [ 5, 16383u ] ]
        "a frame size above the most", 1, [ PeerFrame.settings [ 5, 16777216u ] ]
        "an initial window beyond 31 bits", 3, [ PeerFrame.settings [ 4, 0x80000000u ] ]
        "an initial window that overflows a stream's",
        3,
        [ PeerFrame.window 1 65535u; PeerFrame.settings [ 4, 0x7FFFFFFFu ] ]
        "a connection window that grows by nothing", 1, [ PeerFrame.window 0 0u ]
        "a connection window that grows too much", 3, [ PeerFrame.window 0 0x7FFFFFFFu ]
        "a frame that is too large", 6, [ PeerFrame.data 1 false (Array.zeroCreate 16385) ]
        "SETTINGS of a wrong length", 6, [ PeerFrame.make 4uy 0uy 0 (Array.zeroCreate 5) ]
        "an acknowledgement with content", 6, [ PeerFrame.make 4uy 1uy 0 (Array.zeroCreate 6) ]
        "PING of a wrong length", 6, [ PeerFrame.make 6uy 0uy 0 (Array.zeroCreate 7) ]
        "RST_STREAM of a wrong length", 6, [ PeerFrame.make 3uy 0uy 1 (Array.zeroCreate 3) ]
        "WINDOW_UPDATE of a wrong length", 6, [ PeerFrame.make 8uy 0uy 1 (Array.zeroCreate 5) ]
        "PRIORITY of a wrong length", 6, [ PeerFrame.make 2uy 0uy 1 (Array.zeroCreate 4) ]
        "GOAWAY of a wrong length", 6, [ PeerFrame.make 7uy 0uy 0 (Array.zeroCreate 7) ]
        "HEADERS with half a priority", 6, [ PeerFrame.make 1uy 0x24uy 1 (Array.zeroCreate 4) ]
        "a header block that cannot be decoded", 9, [ PeerFrame.headers 1 false [| 0xFFuy |] ]
        "a header block of a closed stream that cannot be decoded",
        9,
        [
            PeerFrame.headers 1 true ok
            PeerFrame.reset 1 0u
            PeerFrame.headers 1 false [| 0x80uy |]
        ]
        "a header block without bounds",
        11,
        PeerFrame.make 1uy 0uy 1 ok
        :: List.replicate 20 (PeerFrame.make 9uy 0uy 1 (Array.zeroCreate 16384))
        "content beyond the window of its stream",
        3,
        PeerFrame.headers 1 false ok
        :: List.replicate 9 (PeerFrame.data 1 false (Array.zeroCreate 16384))
    ]

let private violationTest (name, code: int, frames) =
    testCase $"{name} ends the connection" (fun () ->
        let session = Session.Ready(options, 2, false)
        session.Written() |> ignore
        session.Receive frames
        Expect.isNotNull session.Inner.Failure "it is over"
        Expect.equal (farewell session) (Some(byte code)) "GOAWAY"
        Expect.equal session.Inner.Count 0 "no stream is left"

        for stream in session.Streams do
            Expect.equal (stream.Events |> List.filter isTerminal |> List.length) 1 "each stream has ended once"

        Expect.equal session.Inner.FreeStreams 0 "no stream can be opened")

/// Frames that carry nothing, each in a number that no honest peer sends at once.
let private floods =
    let closed = [ PeerFrame.headers 1 true ok ]

    [
        "SETTINGS", [], PeerFrame.settings []
        "SETTINGS acknowledgements", [], PeerFrame.make 4uy 1uy 0 [||]
        "PING", [], PeerFrame.ping
        "PING acknowledgements", [], { PeerFrame.ping with Flags = 1uy }
        "PRIORITY", [], PeerFrame.make 2uy 0uy 1 (Array.zeroCreate 5)
        "frames of unknown types", [], PeerFrame.make 0xEEuy 0uy 0 (Array.zeroCreate 100)
        "GOAWAY", [], PeerFrame.goAway Int32.MaxValue 0u
        "empty DATA", [ PeerFrame.headers 3 false ok ], PeerFrame.data 3 false [||]
        "DATA of padding", [ PeerFrame.headers 3 false ok ], PeerFrame.make 0uy 8uy 3 [| 3uy; 0uy; 0uy; 0uy |]
        "empty CONTINUATION", [ PeerFrame.make 1uy 0uy 3 ok ], PeerFrame.make 9uy 0uy 3 [||]
        "HEADERS of a closed stream", closed, PeerFrame.headers 1 false ok
        "RST_STREAM of a closed stream", closed, PeerFrame.reset 1 8u
        "WINDOW_UPDATE of a closed stream", closed, PeerFrame.window 1 1u
        "WINDOW_UPDATE by one", [], PeerFrame.window 0 1u
        "WINDOW_UPDATE of a stream by one", [], PeerFrame.window 3 1u
    ]

let private floodTest (name, before, frame) =
    testCase $"a flood of {name} ends the connection" (fun () ->
        let session = Session.Ready(options, 1, true)
        session.Open false |> ignore
        session.Written() |> ignore
        session.Receive before
        let mutable sent = 0

        while isNull session.Inner.Failure && sent < 100_000 do
            session.Receive [ frame ]
            sent <- sent + 1

        Expect.isNotNull session.Inner.Failure "it is over"
        Expect.isLessThanOrEqual sent (FloodGuard.Burst + 1) "soon"
        Expect.equal (farewell session) (Some 11uy) "ENHANCE_YOUR_CALM"
        Expect.isLessThan session.Inner.HeldBytes 1000 "nothing has grown")

let private goAways =
    gen {
        let! count = Gen.choose (1, 8)

        let! last =
            Gen.frequency [ (4, Gen.choose (0, 2 * count)); (1, Gen.constant Int32.MaxValue) ]

        let! code = Gen.elements [ 0u; 0u; 1u; 9u; 11u ]
        let! answered = Gen.subListOf [ 0 .. count - 1 ]
        return count, last, code, answered
    }

let private obeysGoAway (seen: Seen) (count, last, code, answered: int list) =
    let session = Session.Ready(options, count, true)
    session.Receive [ for at in answered -> PeerFrame.headers (2 * at + 1) true ok ]
    session.Receive [ PeerFrame.goAway last code ]

    for at in 0 .. count - 1 do
        let events = session.Streams[at].Events
        let id = 2 * at + 1

        if List.contains at answered then
            Expect.equal events [ Head(200, [], None, true) ] "a complete response stays one"
        elif id > last then
            seen.Count "left out"
            Expect.equal events [ Failed(FailureKind.GoAway, SentState.CertainlyNotProcessed, Some code) ] "left out"
        elif code <> 0u then
            seen.Count "covered, with an error"
            Expect.equal events [ Failed(FailureKind.GoAway, SentState.MayHaveBeenProcessed, Some code) ] "covered"
        else
            seen.Count "goes on"
            Expect.isEmpty events "a covered stream goes on"
            session.Receive [ PeerFrame.headers id true ok ]
            Expect.equal session.Streams[at].Events [ Head(200, [], None, true) ] "and is answered"

    Expect.equal session.Inner.FreeStreams 0 "no more streams"
    Expect.equal (isNull session.Inner.Failure) (code = 0u) "an error ends the connection"

[<Tests>]
let tests =
    testList
        "HTTP/2 session"
        [
            Law.test
                "however the bytes are cut, the events and the bytes sent are the same"
                1000
                [ ("went on", 200); ("ended by a violation", 100); ("a response ended", 100) ]
                (Arb.fromGen conversations)
                (fun seen (frames, lengths) ->
                    let bytes = frames |> List.map PeerFrame.bytes |> Array.concat
                    let whole = begun ()
                    whole.Receive(bytes, 0L)
                    let pieces = begun ()

                    for piece in cut lengths bytes do
                        pieces.Receive(piece, 0L)

                    seen.When("went on", isNull whole.Inner.Failure)
                    seen.When("ended by a violation", not (isNull whole.Inner.Failure))

                    seen.When(
                        "a response ended",
                        whole.Streams |> Seq.exists (fun stream -> List.exists isTerminal stream.Events)
                    )

                    Expect.equal (outcome pieces) (outcome whole) "")

            Law.test
                "whatever a peer sends, each stream ends at most once, and nothing grows"
                1000
                [ ("several frames", 300); ("ended by a violation", 100) ]
                (Arb.fromGen conversations)
                (fun seen (frames, _) ->
                    let session = begun ()
                    let mutable written = 0

                    for frame in frames do
                        session.Receive [ frame ]
                        written <- written + session.Written().Length

                        Expect.isLessThanOrEqual
                            session.Inner.HeldBytes
                            (session.Inner.MaxBlock + 8192)
                            "it holds no more"

                        Expect.isLessThanOrEqual session.Inner.Count 3 "no stream that this side has not opened"

                    Expect.isLessThanOrEqual written (60 * (frames.Length + 1) + 17) "no frame has a long answer"
                    Expect.equal session.Rest 0 "whole frames are taken"
                    seen.When("several frames", frames.Length > 5)
                    seen.When("ended by a violation", not (isNull session.Inner.Failure))

                    for stream in session.Streams do
                        let events = stream.Events
                        let ends = events |> List.filter isTerminal |> List.length
                        Expect.isLessThanOrEqual ends 1 "it ends once"
                        Expect.isLessThanOrEqual stream.Content options.StreamWindow "unread content is bounded"

                        let heads =
                            events
                            |> List.filter (function
                                | Head _ -> true
                                | _ -> false)
                            |> List.length

                        Expect.isLessThanOrEqual heads 1 "it has one head"

                        match events |> List.tryFindIndex isTerminal with
                        | Some at ->
                            Expect.all events[at + 1 ..] (fun event -> event = Unwanted) "nothing comes after the end"
                        | None -> Expect.isFalse (stream.IsClosed) "what has not ended is open"

                        match
                            events
                            |> List.tryFindIndex (function
                                | Data _
                                | End _ -> true
                                | _ -> false)
                        with
                        | Some at ->
                            Expect.exists
                                events[.. at - 1]
                                (function
                                | Head _ -> true
                                | _ -> false)
                                "head before content"
                        | None -> ())

            Law.test
                "no more content is sent than the windows permit"
                500
                [ ("stopped by a window", 200) ]
                (Arb.fromGen (Gen.listOf flowSteps))
                keepsWindows

            Law.test
                "a reader that keeps up is sent more, one that does not is sent a bounded amount"
                30
                [ ("the window is used up", 5); ("the window has grown", 5) ]
                (Arb.fromGen (
                    Gen.oneof
                        [
                            Gen.choose (1, 300)
                            |> Gen.map (fun count -> List.replicate count Int32.MaxValue)
                            Gen.listOfLength 100 (Gen.choose (0, 20_000))
                        ]
                ))
                neverStarves

            Law.test
                "GOAWAY: streams beyond the last were not processed, covered ones go on or fail at once"
                500
                [ ("left out", 100); ("covered, with an error", 100); ("goes on", 100) ]
                (Arb.fromGen goAways)
                obeysGoAway

            testList "malformed responses" (List.map malformedTest malformed)
            testList "violations" (List.map violationTest violations)
            testList "floods" (List.map floodTest floods)

            testCase "frames that carry nothing come back into the budget with time" (fun () ->
                let session = Session.Ready(options, 1, true)
                session.Written() |> ignore

                for second in 0L .. 60L do
                    for _ in 1 .. FloodGuard.PerSecond do
                        session.Receive(PeerFrame.bytes PeerFrame.ping, second * 1000L)

                    session.Written() |> ignore

                Expect.isNull session.Inner.Failure "a patient peer is no flood")

            testCase "a complete response and then a reset: the rest of the request is not wanted" (fun () ->
                for code in [ 0u; 8u; 2u ] do
                    let session = Session.Ready(options, 1, false)
                    session.Receive [ PeerFrame.headers 1 true ok; PeerFrame.reset 1 code ]
                    Expect.equal session.Streams[0].Events [ Head(200, [], None, true); Unwanted ] "no failure"
                    Expect.equal session.Inner.Count 0 "it is over")

            testCase "a reset before the response is complete is a failure, even with NO_ERROR" (fun () ->
                for code in [ 0u; 2u; 8u; 11u ] do
                    let session = Session.Ready(options, 1, true)
                    session.Receive [ PeerFrame.headers 1 false ok; PeerFrame.reset 1 code ]

                    Expect.equal
                        (List.last session.Streams[0].Events)
                        (Failed(FailureKind.StreamReset, SentState.MayHaveBeenProcessed, Some code))
                        "")

            testCase "REFUSED_STREAM says that the request was not processed, unless a response had begun" (fun () ->
                let session = Session.Ready(options, 2, true)
                session.Receive [ PeerFrame.reset 1 7u; PeerFrame.headers 3 false ok; PeerFrame.reset 3 7u ]

                Expect.equal
                    session.Streams[0].Events
                    [ Failed(FailureKind.StreamReset, SentState.CertainlyNotProcessed, Some 7u) ]
                    "refused"

                Expect.equal
                    (List.last session.Streams[1].Events)
                    (Failed(FailureKind.StreamReset, SentState.MayHaveBeenProcessed, Some 7u))
                    "answered in part")

            testCase
                "a lost connection: what was not handed over was not sent, and a complete response stays one"
                (fun () ->
                    let session = Session.Ready(options, 2, false)
                    session.Receive [ PeerFrame.headers 1 true ok ]
                    session.Open true |> ignore
                    session.Inner.Lose(FailureKind.Closed, "lost", null)
                    Expect.equal session.Streams[0].Events [ Head(200, [], None, true); Unwanted ] "complete"
                    let failed sent = [ Failed(FailureKind.Closed, sent, None) ]
                    Expect.equal session.Streams[1].Events (failed SentState.MayHaveBeenProcessed) "sent"
                    Expect.equal session.Streams[2].Events (failed SentState.NothingSent) "not sent")

            testCase "a first frame other than SETTINGS is no HTTP/2" (fun () ->
                for bytes in [ PeerFrame.bytes PeerFrame.ping; text "HTTP/1.1 400 Bad Request\r\n\r\n" ] do
                    let session = Session options
                    session.Receive(bytes, 0L)
                    Expect.isNotNull session.Inner.Failure "it is over"
                    Expect.isFalse session.Inner.IsReady "it was never ready")

            testCase "no more streams than the peer permits are open, and lowering the number ends none" (fun () ->
                let session = Session options
                Expect.equal session.Inner.FreeStreams 0 "none before the settings"
                session.Receive [ PeerFrame.settings [ 3, 2u ] ]
                session.Open true |> ignore
                session.Open true |> ignore
                Expect.isNone (session.TryOpen(Session.Request "/", true)) "the third"
                session.Receive [ PeerFrame.settings [ 3, 1u ]; PeerFrame.headers 1 true ok ]
                Expect.equal session.Inner.FreeStreams 0 "one is open, and one is permitted"
                session.Receive [ PeerFrame.headers 3 true ok ]
                Expect.equal session.Inner.FreeStreams 1 "")

            testCase "a request that ends while its last frame waits to be written is ended by that frame" (fun () ->
                let session = Session.Ready(options, 0, true)
                session.Written() |> ignore
                let stream = session.Open false

                session.Inner.Send(stream, ReadOnlySpan(text "abc"), Int32.MaxValue, false)
                |> ignore

                session.Inner.Send(stream, ReadOnlySpan(text "def"), Int32.MaxValue, true)
                |> ignore

                let other = session.Open false
                session.Inner.Send(other, ReadOnlySpan.Empty, 0, true) |> ignore
                let frames = PeerFrame.parse (session.Written())

                Expect.equal
                    [ for frame in frames -> frame.Kind, frame.Flags ]
                    [ 1uy, 4uy; 0uy, 0uy; 0uy, 1uy; 1uy, 5uy ]
                    "")

            testCase "a request that ends later is ended by an empty frame" (fun () ->
                let session = Session.Ready(options, 1, false)
                session.Written() |> ignore
                session.Inner.Send(session.Streams[0], ReadOnlySpan.Empty, 0, true) |> ignore
                let frames = PeerFrame.parse (session.Written())

                Expect.equal
                    [ for frame in frames -> frame.Kind, frame.Flags, frame.Payload.Length ]
                    [ 0uy, 1uy, 0 ]
                    "")

            testCase "a long header section goes out in several frames" (fun () ->
                let session = Session.Ready(options, 0, true)
                session.Written() |> ignore
                let request = Session.Request "/"

                for at in 1..50 do
                    request.Fields.Add($"x-{at}", String('v', 1000))

                session.TryOpen(request, true) |> ignore
                let frames = PeerFrame.parse (session.Written())

                Expect.equal
                    [
                        for frame in frames -> frame.Kind, frame.Flags, frame.Payload.Length = 16_384
                    ]
                    [ 1uy, 1uy, true; 9uy, 0uy, true; 9uy, 0uy, true; 9uy, 4uy, false ]
                    "END_STREAM with the first, END_HEADERS with the last")

            testCase
                "a header section over the limit fails its stream alone, and later ones are still understood"
                (fun () ->
                    let session = Session.Ready(options, 2, true)
                    session.Written() |> ignore
                    // An entry of the table that is referred to more often than fits.
                    let bomb =
                        Array.concat
                            [
                                ok
                                [| 0x40uy; 1uy; byte 'a'; 0x7Euy |]
                                Array.create 126 (byte 'b')
                                Array.create 1000 0xBEuy
                            ]

                    session.Receive [ PeerFrame.headers 1 false bomb ]

                    Expect.equal
                        session.Streams[0].Events
                        [ Failed(FailureKind.HeadTooLarge, SentState.MayHaveBeenProcessed, None) ]
                        "too large"

                    session.Receive [ PeerFrame.headers 3 true (Array.append ok [| 0xBEuy |]) ]

                    Expect.equal
                        session.Streams[1].Events
                        [ Head(200, [ "a", String('b', 126) ], None, true) ]
                        "the next one")

            testCase "a header section in many small frames" (fun () ->
                let session = Session.Ready(options, 1, true)
                let block = PeerFrame.block [ ":status", "200"; "x-a", "b"; "x-c", "d" ]

                session.Receive
                    [
                        yield PeerFrame.make 1uy 1uy 1 block[..0]

                        for at in 1 .. block.Length - 2 do
                            yield PeerFrame.make 9uy 0uy 1 block[at..at]

                        yield PeerFrame.make 9uy 4uy 1 block[block.Length - 1 ..]
                    ]

                Expect.equal session.Streams[0].Events [ Head(200, [ "x-a", "b"; "x-c", "d" ], None, true) ] ""
                Expect.isLessThan session.Inner.HeldBytes 200 "the block is let go")

            testCase "responses that can have no content end without it" (fun () ->
                let request =
                    UpstreamRequest(Method = "HEAD", Target = "/", Scheme = "http", Authority = "a.example")

                for status, request in
                    [
                        "200", request
                        "204", Session.Request "/"
                        "205", Session.Request "/"
                        "304", Session.Request "/"
                    ] do
                    let session = Session.Ready(options, 0, true)
                    let stream = (session.TryOpen(request, true)).Value
                    session.Written() |> ignore
                    let head = PeerFrame.block [ ":status", status; "content-length", "5" ]
                    session.Receive [ PeerFrame.headers 1 false head; PeerFrame.data 1 false (text "12345") ]
                    Expect.equal stream.Events.Length 2 "two events"

                    Expect.equal
                        stream.Events[0]
                        (Head(int status, [ "content-length", "5" ], None, false))
                        "the head, without a length"

                    Expect.equal stream.Events[1] (End []) "an end instead of content"
                    Expect.equal session.Inner.Count 0 "it is over")

            testCase "padding counts in the windows and is given back" (fun () ->
                let session = Session.Ready(options, 1, true)
                session.Written() |> ignore
                session.Receive [ PeerFrame.headers 1 false ok ]

                for _ in 1..400 do
                    session.Receive
                        [
                            PeerFrame.make 0uy 8uy 1 (Array.concat [ [| 255uy |]; [| 1uy |]; Array.zeroCreate 255 ])
                        ]

                    session.Receive [ PeerFrame.data 1 false (Array.zeroCreate 100) ]

                // 400 × 357 bytes are more than a window; 400 × 101 are not.
                Expect.isNull session.Inner.Failure "the peer kept the rules"
                Expect.equal session.Streams[0].Content (400 * 101) "")

            testCase "trailers that are about the message are left out" (fun () ->
                let session = Session.Ready(options, 1, true)
                let trailers = PeerFrame.block [ "grpc-status", "0"; "content-length", "7" ]
                session.Receive [ PeerFrame.headers 1 false ok; PeerFrame.headers 1 true trailers ]
                Expect.equal session.Streams[0].Events [ Head(200, [], None, false); End [ "grpc-status", "0" ] ] "")

            testCase
                "frames of streams that this side has reset are ignored, and count in the connection's window"
                (fun () ->
                    let session = Session.Ready(options, 1, true)
                    session.Written() |> ignore
                    session.Receive [ PeerFrame.headers 1 false ok ]
                    session.Inner.Reset(session.Streams[0], Http2ErrorCode.Cancel)

                    session.Receive
                        [
                            for _ in 1..40 do
                                yield PeerFrame.data 1 false (Array.zeroCreate 16_384)

                            yield PeerFrame.headers 1 true (PeerFrame.block [ "x", "y" ])
                        ]

                    Expect.equal session.Streams[0].Events [ Head(200, [], None, false) ] "nothing more"
                    let written = PeerFrame.parse (session.Written())

                    Expect.exists
                        written
                        (fun frame -> frame.Kind = 8uy && frame.Stream = 0)
                        "the window is given back"

                    Expect.isNull session.Inner.Failure "the connection goes on")

            testCase "the peer's text in GOAWAY is shown in part, without control characters" (fun () ->
                let session = Session.Ready(options, 1, true)
                let frame = PeerFrame.goAway 0 11u

                session.Receive
                    [
                        { frame with
                            Payload = Array.append frame.Payload (text ("too_many_pings\r\n" + String('x', 1000)))
                        }
                    ]

                let message = (nonNull session.Inner.Failure).Message
                Expect.stringContains message "ENHANCE_YOUR_CALM (too_many_pings??xxx" ""
                Expect.isLessThan message.Length 200 "")
        ]
