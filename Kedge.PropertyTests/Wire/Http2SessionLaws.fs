/// The client's end of an HTTP/2 connection, without sockets (RFC 9113).
module Kedge.PropertyTests.Wire.Http2SessionLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Http2
open Kedge.Wire.Upstream

let private text (value: string) = Encoding.Latin1.GetBytes value

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
    let session = Session.Ready(Http2Options.Default, count, true)
    session.Receive [ for at in answered -> PeerFrame.headers (2 * at + 1) true PeerFrame.ok ]
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
            session.Receive [ PeerFrame.headers id true PeerFrame.ok ]
            Expect.equal session.Streams[at].Events [ Head(200, [], None, true) ] "and is answered"

    Expect.equal session.Inner.FreeStreams 0 "no more streams"
    Expect.equal (isNull session.Inner.Failure) (code = 0u) "an error ends the connection"

[<Tests>]
let tests =
    testList
        "HTTP/2 session"
        [
            Law.test
                "GOAWAY: streams beyond the last were not processed, covered ones go on or fail at once"
                500
                [ ("left out", 100); ("covered, with an error", 100); ("goes on", 100) ]
                (Arb.fromGen goAways)
                obeysGoAway

            testCase "a complete response and then a reset: the rest of the request is not wanted" (fun () ->
                for code in [ 0u; 8u; 2u ] do
                    let session = Session.Ready(Http2Options.Default, 1, false)
                    session.Receive [ PeerFrame.headers 1 true PeerFrame.ok; PeerFrame.reset 1 code ]
                    Expect.equal session.Streams[0].Events [ Head(200, [], None, true); Unwanted ] "no failure"
                    Expect.equal session.Inner.Count 0 "it is over")

            testCase "a reset before the response is complete is a failure, even with NO_ERROR" (fun () ->
                for code in [ 0u; 2u; 8u; 11u ] do
                    let session = Session.Ready(Http2Options.Default, 1, true)
                    session.Receive [ PeerFrame.headers 1 false PeerFrame.ok; PeerFrame.reset 1 code ]

                    Expect.equal
                        (List.last session.Streams[0].Events)
                        (Failed(FailureKind.StreamReset, SentState.MayHaveBeenProcessed, Some code))
                        "")

            testCase "REFUSED_STREAM says that the request was not processed, unless a response had begun" (fun () ->
                let session = Session.Ready(Http2Options.Default, 2, true)

                session.Receive
                    [
                        PeerFrame.reset 1 7u
                        PeerFrame.headers 3 false PeerFrame.ok
                        PeerFrame.reset 3 7u
                    ]

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
                    let session = Session.Ready(Http2Options.Default, 2, false)
                    session.Receive [ PeerFrame.headers 1 true PeerFrame.ok ]
                    session.Open true |> ignore
                    session.Inner.Lose(FailureKind.Closed, "lost", null)
                    Expect.equal session.Streams[0].Events [ Head(200, [], None, true); Unwanted ] "complete"
                    let failed sent = [ Failed(FailureKind.Closed, sent, None) ]
                    Expect.equal session.Streams[1].Events (failed SentState.MayHaveBeenProcessed) "sent"
                    Expect.equal session.Streams[2].Events (failed SentState.NothingSent) "not sent")

            testCase "no more streams than the peer permits are open, and lowering the number ends none" (fun () ->
                let session = Session Http2Options.Default
                Expect.equal session.Inner.FreeStreams 0 "none before the settings"
                session.Receive [ PeerFrame.settings [ 3, 2u ] ]
                session.Open true |> ignore
                session.Open true |> ignore
                Expect.isNone (session.TryOpen(Session.Request "/", true)) "the third"
                session.Receive [ PeerFrame.settings [ 3, 1u ]; PeerFrame.headers 1 true PeerFrame.ok ]
                Expect.equal session.Inner.FreeStreams 0 "one is open, and one is permitted"
                session.Receive [ PeerFrame.headers 3 true PeerFrame.ok ]
                Expect.equal session.Inner.FreeStreams 1 "")

            testCase "a request that ends while its last frame waits to be written is ended by that frame" (fun () ->
                let session = Session.Ready(Http2Options.Default, 0, true)
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
                let session = Session.Ready(Http2Options.Default, 1, false)
                session.Written() |> ignore
                session.Inner.Send(session.Streams[0], ReadOnlySpan.Empty, 0, true) |> ignore
                let frames = PeerFrame.parse (session.Written())

                Expect.equal
                    [ for frame in frames -> frame.Kind, frame.Flags, frame.Payload.Length ]
                    [ 0uy, 1uy, 0 ]
                    "")

            testCase "a request that ends after its frames were dropped is ended by an empty frame" (fun () ->
                let session = Session.Ready(Http2Options.Default, 0, true)
                session.Written() |> ignore
                let stream = session.Open false

                session.Inner.Send(stream, ReadOnlySpan(text "abc"), Int32.MaxValue, false)
                |> ignore

                session.Inner.DropOutput()
                session.Inner.Send(stream, ReadOnlySpan.Empty, 0, true) |> ignore
                let frames = PeerFrame.parse (session.Written())
                Expect.equal [ for frame in frames -> frame.Kind, frame.Flags ] [ 0uy, 1uy ] "")

            testCase "a long header section goes out in several frames" (fun () ->
                let session = Session.Ready(Http2Options.Default, 0, true)
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

            testCase "a header section in many small frames" (fun () ->
                let session = Session.Ready(Http2Options.Default, 1, true)
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
                    let session = Session.Ready(Http2Options.Default, 0, true)
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

            testCase "trailers that are about the message are left out" (fun () ->
                let session = Session.Ready(Http2Options.Default, 1, true)
                let trailers = PeerFrame.block [ "grpc-status", "0"; "content-length", "7" ]
                session.Receive [ PeerFrame.headers 1 false PeerFrame.ok; PeerFrame.headers 1 true trailers ]
                Expect.equal session.Streams[0].Events [ Head(200, [], None, false); End [ "grpc-status", "0" ] ] "")

            testCase "the peer's text in GOAWAY is shown in part, without control characters" (fun () ->
                let session = Session.Ready(Http2Options.Default, 1, true)
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
