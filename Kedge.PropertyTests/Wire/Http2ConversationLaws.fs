/// Arbitrary frames of an HTTP/2 peer, sound and unsound.
module Kedge.PropertyTests.Wire.Http2ConversationLaws

open System
open Expecto
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Http2

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
            (6, Gen.constant PeerFrame.ok)
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
    let session = Session Http2Options.Default
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

[<Tests>]
let tests =
    testList
        "HTTP/2 conversation"
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
                        whole.Streams
                        |> Seq.exists (fun stream -> List.exists StreamEvent.isTerminal stream.Events)
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
                        let ends = events |> List.filter StreamEvent.isTerminal |> List.length
                        Expect.isLessThanOrEqual ends 1 "it ends once"

                        Expect.isLessThanOrEqual
                            stream.Content
                            Http2Options.Default.StreamWindow
                            "unread content is bounded"

                        let heads =
                            events
                            |> List.filter (function
                                | Head _ -> true
                                | _ -> false)
                            |> List.length

                        Expect.isLessThanOrEqual heads 1 "it has one head"

                        match events |> List.tryFindIndex StreamEvent.isTerminal with
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
        ]
