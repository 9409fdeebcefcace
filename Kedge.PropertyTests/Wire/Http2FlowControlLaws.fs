/// The window that each end of an HTTP/2 connection has of the other (RFC 9113, section 5.2).
module Kedge.PropertyTests.Wire.Http2FlowControlLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Http2

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
    let session = Session.Ready(Http2Options.Default, 3, false)
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
    let session = Session.Ready(Http2Options.Default, 1, true)
    session.Written() |> ignore
    session.Receive [ PeerFrame.headers 1 false PeerFrame.ok ]
    let stream = session.Streams[0]
    let mutable streamWindow = Http2Options.Default.StreamWindow
    let mutable connectionWindow = Http2Options.Default.ConnectionWindow
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

        Expect.isLessThanOrEqual unread Http2Options.Default.MaxStreamWindow "what a reader leaves unread is bounded"

        if unread = 0 then
            Expect.isGreaterThan (min streamWindow connectionWindow) 0 "who reads everything can be sent more"

    seen.When("the window has grown", total > 2 * Http2Options.Default.MaxStreamWindow)
    Expect.isNull session.Inner.Failure "the peer kept the rules"

[<Tests>]
let tests =
    testList
        "HTTP/2 flow control"
        [
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

            testCase "padding counts in the windows and is given back" (fun () ->
                let session = Session.Ready(Http2Options.Default, 1, true)
                session.Written() |> ignore
                session.Receive [ PeerFrame.headers 1 false PeerFrame.ok ]

                for _ in 1..400 do
                    session.Receive
                        [
                            PeerFrame.make 0uy 8uy 1 (Array.concat [ [| 255uy |]; [| 1uy |]; Array.zeroCreate 255 ])
                        ]

                    session.Receive [ PeerFrame.data 1 false (Array.zeroCreate 100) ]

                // 400 × 357 bytes are more than a window; 400 × 101 are not.
                Expect.isNull session.Inner.Failure "the peer kept the rules"
                Expect.equal session.Streams[0].Content (400 * 101) "")

            testCase
                "frames of streams that this side has reset are ignored, and count in the connection's window"
                (fun () ->
                    let session = Session.Ready(Http2Options.Default, 1, true)
                    session.Written() |> ignore
                    session.Receive [ PeerFrame.headers 1 false PeerFrame.ok ]
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
        ]
