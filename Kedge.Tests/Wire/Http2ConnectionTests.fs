/// HTTP/2 connections to endpoints: how they start, are kept alive and end.
module Kedge.Tests.Wire.Http2ConnectionTests

open System
open System.IO
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
                                    let! connection = Client.startAt port curious (RecordingOwner())
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
                                let! connection = Client.startAt port curious (RecordingOwner())
                                let! response = Client.send connection (Client.get "/")
                                let! _ = Client.read response

                                do!
                                    Absence.during (TimeSpan.FromSeconds 1.0) "a PING" (fun () ->
                                        Task.FromResult(pings > 0))
                            }))
                ]
        ]
