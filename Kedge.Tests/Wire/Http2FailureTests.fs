/// What is known of a request to an HTTP/2 endpoint that failed, and so whether it may be sent again.
module Kedge.Tests.Wire.Http2FailureTests

open System
open System.IO
open System.Net.Http
open System.Net.Sockets
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
        ]
