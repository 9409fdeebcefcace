/// Peers that break the rules of HTTP/2, and what each breach ends: a stream, or the connection (RFC 9113, section 5.4).
module Kedge.PropertyTests.Wire.Http2ViolationLaws

open System
open System.Text
open Expecto
open Kedge.Wire.Http2
open Kedge.Wire.Upstream

let private text (value: string) = Encoding.Latin1.GetBytes value

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
            PeerFrame.headers 1 false PeerFrame.ok
            PeerFrame.headers 1 false (PeerFrame.block [ "x", "y" ])
        ]
        "a status in trailers",
        [
            PeerFrame.headers 1 false PeerFrame.ok
            PeerFrame.headers 1 true (PeerFrame.block [ ":status", "200" ])
        ]
        "upper case in trailers",
        [
            PeerFrame.headers 1 false PeerFrame.ok
            PeerFrame.headers 1 true (PeerFrame.block [ "X", "y" ])
        ]
        "a window that grows by nothing", [ PeerFrame.window 1 0u ]
        "a window that grows too much", [ PeerFrame.window 1 0x7FFFFFFFu ]
    ]

let private malformedTest (name, frames) =
    testCase $"{name}: that stream fails, the others go on" (fun () ->
        let session = Session.Ready(Http2Options.Default, 2, false)
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
        session.Receive [ PeerFrame.headers 3 true PeerFrame.ok ]
        Expect.equal session.Streams[1].Events [ Head(200, [], None, true) ] "the other stream"
        Expect.isNull session.Inner.Failure "the connection goes on")

/// What ends the connection, and with what code.
let private violations =
    [
        "too many informational responses",
        11,
        List.replicate
            (Http2Options.Default.MaxInformational + 1)
            (PeerFrame.headers 1 false (PeerFrame.block [ ":status", "103" ]))
        "DATA on no stream", 1, [ PeerFrame.data 0 false [||] ]
        "HEADERS on no stream", 1, [ PeerFrame.headers 0 false PeerFrame.ok ]
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
        "HEADERS on a stream that was never opened", 1, [ PeerFrame.headers 5 false PeerFrame.ok ]
        "WINDOW_UPDATE on a stream that was never opened", 1, [ PeerFrame.window 5 1u ]
        "RST_STREAM on a stream of the peer", 1, [ PeerFrame.reset 2 8u ]
        "PUSH_PROMISE", 1, [ PeerFrame.make 5uy 4uy 1 (Array.append (PeerFrame.number 2u) PeerFrame.ok) ]
        "CONTINUATION after nothing", 1, [ PeerFrame.make 9uy 4uy 1 PeerFrame.ok ]
        "another frame within a header block", 1, [ PeerFrame.make 1uy 0uy 1 PeerFrame.ok; PeerFrame.ping ]
        "CONTINUATION of another stream", 1, [ PeerFrame.make 1uy 0uy 1 PeerFrame.ok; PeerFrame.make 9uy 4uy 3 [||] ]
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
            PeerFrame.headers 1 true PeerFrame.ok
            PeerFrame.reset 1 0u
            PeerFrame.headers 1 false [| 0x80uy |]
        ]
        "a header block without bounds",
        11,
        PeerFrame.make 1uy 0uy 1 PeerFrame.ok
        :: List.replicate 20 (PeerFrame.make 9uy 0uy 1 (Array.zeroCreate 16384))
        "content beyond the window of its stream",
        3,
        PeerFrame.headers 1 false PeerFrame.ok
        :: List.replicate 9 (PeerFrame.data 1 false (Array.zeroCreate 16384))
    ]

let private violationTest (name, code: int, frames) =
    testCase $"{name} ends the connection" (fun () ->
        let session = Session.Ready(Http2Options.Default, 2, false)
        session.Written() |> ignore
        session.Receive frames
        Expect.isNotNull session.Inner.Failure "it is over"
        Expect.equal (session.Farewell()) (Some(byte code)) "GOAWAY"
        Expect.equal session.Inner.Count 0 "no stream is left"

        for stream in session.Streams do
            Expect.equal
                (stream.Events |> List.filter StreamEvent.isTerminal |> List.length)
                1
                "each stream has ended once"

        Expect.equal session.Inner.FreeStreams 0 "no stream can be opened")

/// Frames that carry nothing, each in a number that no honest peer sends at once.
let private floods =
    let closed = [ PeerFrame.headers 1 true PeerFrame.ok ]

    [
        "SETTINGS", [], PeerFrame.settings []
        "SETTINGS acknowledgements", [], PeerFrame.make 4uy 1uy 0 [||]
        "PING", [], PeerFrame.ping
        "PING acknowledgements", [], { PeerFrame.ping with Flags = 1uy }
        "PRIORITY", [], PeerFrame.make 2uy 0uy 1 (Array.zeroCreate 5)
        "frames of unknown types", [], PeerFrame.make 0xEEuy 0uy 0 (Array.zeroCreate 100)
        "GOAWAY", [], PeerFrame.goAway Int32.MaxValue 0u
        "empty DATA", [ PeerFrame.headers 3 false PeerFrame.ok ], PeerFrame.data 3 false [||]
        "DATA of padding", [ PeerFrame.headers 3 false PeerFrame.ok ], PeerFrame.make 0uy 8uy 3 [| 3uy; 0uy; 0uy; 0uy |]
        "empty CONTINUATION", [ PeerFrame.make 1uy 0uy 3 PeerFrame.ok ], PeerFrame.make 9uy 0uy 3 [||]
        "HEADERS of a closed stream", closed, PeerFrame.headers 1 false PeerFrame.ok
        "RST_STREAM of a closed stream", closed, PeerFrame.reset 1 8u
        "WINDOW_UPDATE of a closed stream", closed, PeerFrame.window 1 1u
        "WINDOW_UPDATE by one", [], PeerFrame.window 0 1u
        "WINDOW_UPDATE of a stream by one", [], PeerFrame.window 3 1u
    ]

let private floodTest (name, before, frame) =
    testCase $"a flood of {name} ends the connection" (fun () ->
        let session = Session.Ready(Http2Options.Default, 1, true)
        session.Open false |> ignore
        session.Written() |> ignore
        session.Receive before
        let mutable sent = 0

        while isNull session.Inner.Failure && sent < 100_000 do
            session.Receive [ frame ]
            sent <- sent + 1

        Expect.isNotNull session.Inner.Failure "it is over"
        Expect.isLessThanOrEqual sent (FloodGuard.Burst + 1) "soon"
        Expect.equal (session.Farewell()) (Some 11uy) "ENHANCE_YOUR_CALM"
        Expect.isLessThan session.Inner.HeldBytes 1000 "nothing has grown")

[<Tests>]
let tests =
    testList
        "HTTP/2 violations"
        [
            testList "malformed responses" (List.map malformedTest malformed)

            testList "violations" (List.map violationTest violations)

            testList "floods" (List.map floodTest floods)

            testCase "frames that carry nothing come back into the budget with time" (fun () ->
                let session = Session.Ready(Http2Options.Default, 1, true)
                session.Written() |> ignore

                for second in 0L .. 60L do
                    for _ in 1 .. FloodGuard.PerSecond do
                        session.Receive(PeerFrame.bytes PeerFrame.ping, second * 1000L)

                    session.Written() |> ignore

                Expect.isNull session.Inner.Failure "a patient peer is no flood")

            testCase "a first frame other than SETTINGS is no HTTP/2" (fun () ->
                for bytes in [ PeerFrame.bytes PeerFrame.ping; text "HTTP/1.1 400 Bad Request\r\n\r\n" ] do
                    let session = Session Http2Options.Default
                    session.Receive(bytes, 0L)
                    Expect.isNotNull session.Inner.Failure "it is over"
                    Expect.isFalse session.Inner.IsReady "it was never ready")

            testCase
                "a header section over the limit fails its stream alone, and later ones are still understood"
                (fun () ->
                    let session = Session.Ready(Http2Options.Default, 2, true)
                    session.Written() |> ignore
                    // An entry of the table that is referred to more often than fits.
                    let bomb =
                        Array.concat
                            [
                                PeerFrame.ok
                                [| 0x40uy; 1uy; byte 'a'; 0x7Euy |]
                                Array.create 126 (byte 'b')
                                Array.create 1000 0xBEuy
                            ]

                    session.Receive [ PeerFrame.headers 1 false bomb ]

                    Expect.equal
                        session.Streams[0].Events
                        [ Failed(FailureKind.HeadTooLarge, SentState.MayHaveBeenProcessed, None) ]
                        "too large"

                    session.Receive [ PeerFrame.headers 3 true (Array.append PeerFrame.ok [| 0xBEuy |]) ]

                    Expect.equal
                        session.Streams[1].Events
                        [ Head(200, [ "a", String('b', 126) ], None, true) ]
                        "the next one")
        ]
