/// How connections of callers come to event loops, against plain sockets.
module Kedge.Tests.Wire.LoopListenerTests

open System
open System.Buffers
open System.IO
open System.IO.Pipelines
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Wire.LoopPairs
open Kedge.Tests.Wire.LoopTests
open Kedge.Wire.Sockets
open Kedge.Wire.Transport
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Connections.Features

[<Tests>]
let tests =
    testList
        "listeners on event loops"
        [
            case "connections are dealt out evenly, with the addresses of both ends" (fun () ->
                withLoops 4 (fun loops ->
                    task {
                        let socket = Plain.listen 512
                        use listener = new LoopListener(loops, socket, MemoryPool<byte>.Shared)
                        let callers = ResizeArray<Socket>()

                        for _ in 1..101 do
                            let! caller = Plain.connect listener.EndPoint
                            callers.Add caller
                            let! connection = accept listener
                            Expect.equal connection.RemoteEndPoint caller.LocalEndPoint "the caller's address"
                            Expect.equal connection.LocalEndPoint caller.RemoteEndPoint "the server's address"

                        // The listener is one of its loop's sockets.
                        let counts = [ for loop in loops.All -> loop.Sockets ]
                        Expect.equal (List.sum counts) 102 "sockets"
                        Expect.isLessThanOrEqual (List.max counts - List.min counts) 1 "the difference"

                        for caller in callers do
                            caller.Dispose()
                    }))

            case "connections to backends do not push callers away from their loops" (fun () ->
                withLoops 2 (fun loops ->
                    task {
                        use backend = Plain.listen 64
                        let socket = Plain.listen 64
                        use listener = new LoopListener(loops, socket, MemoryPool<byte>.Shared)

                        for _ in 1..16 do
                            let address = Plain.address backend
                            let! _ = LoopChannel.ConnectAsync(loops.All[0], address, CancellationToken.None)
                            ()

                        let callers = ResizeArray<Socket>()
                        let connections = ResizeArray<LoopConnection>()

                        for _ in 1..10 do
                            let! caller = Plain.connect listener.EndPoint
                            callers.Add caller
                            let! connection = accept listener
                            connections.Add connection

                        Expect.equal [ for loop in loops.All -> loop.Callers ] [ 5; 5 ] "callers"

                        // However a connection ends, it counts no more, and counts once.
                        connections[0].Abort()
                        connections[0].Abort()
                        do! connections[0].DisposeAsync()
                        do! connections[1].DisposeAsync()
                        Plain.reset callers[2]

                        try
                            let! _ = connections[2].Transport.Input.ReadAsync()
                            failtest "a read of a connection that was reset"
                        with :? IOException ->
                            ()

                        do! connections[2].DisposeAsync()
                        Expect.equal (loops.All |> Seq.sumBy _.Callers) 7 "callers that are left"

                        for caller in callers do
                            caller.Dispose()
                    }))

            case "a listener that is closed takes no more; what is open stays open" (fun () ->
                withLoops 2 (fun loops ->
                    task {
                        let socket = Plain.listen 16
                        let listener = new LoopListener(loops, socket, MemoryPool<byte>.Shared)
                        use! caller = Plain.connect listener.EndPoint
                        let! connection = accept listener
                        use cancel = new CancellationTokenSource()
                        let waiting = listener.AcceptAsync(cancel.Token).AsTask()
                        cancel.Cancel()
                        listener.Dispose()
                        let! _ = failure<OperationCanceledException> "the one who waits" (fun () -> waiting)

                        let! _ =
                            failure<SocketException> "a caller" (fun () -> Plain.connect listener.EndPoint)

                        let! _ = write connection (bytes "still")
                        let! received = Plain.receive caller 5
                        Expect.equal received (bytes "still") "what the caller received"
                        connection.Abort()
                    }))

            case "features can be replaced" (fun () ->
                withPair (fun connection _ ->
                    task {
                        let features = connection.Features
                        Expect.isNotNull (features.Get<IMemoryPoolFeature>()) "one of its own"
                        Expect.isNull (features.Get<IConnectionSocketFeature>()) "one that it has not"

                        let pipe =
                            { new IDuplexPipe with
                                member _.Input = input connection
                                member _.Output = output connection
                            }

                        connection.Transport <- pipe

                        match features.Get<IConnectionTransportFeature>() with
                        | null -> failtest "no transport"
                        | feature -> Expect.isTrue (obj.ReferenceEquals(feature.Transport, pipe)) "the transport"

                        let revision = features.Revision
                        features.Set<string> "mine"
                        Expect.equal (features.Get<string>()) "mine" "one that was added"
                        Expect.notEqual features.Revision revision "the revision"
                        Expect.equal (Seq.length features) 9 "all of them"
                    }))

            case "many callers at once, each with its own bytes, lose no wake-up" (fun () ->
                withLoops 2 (fun loops ->
                    task {
                        let socket = Plain.listen 512
                        use listener = new LoopListener(loops, socket, MemoryPool<byte>.Shared)

                        let echo (connection: LoopConnection) : Task =
                            task {
                                match connection.Features.Get<IEventLoopFeature>() with
                                | null -> failtest "it is on no loop"
                                | loop -> loop.ContinuesOnPool <- false

                                let mutable echoing = true

                                while echoing do
                                    let! result = (input connection).ReadAsync().ConfigureAwait false

                                    let! _ =
                                        (output connection).WriteAsync(result.Buffer.ToArray()).ConfigureAwait false

                                    (input connection).AdvanceTo result.Buffer.End
                                    echoing <- not result.IsCompleted

                                do! connection.DisposeAsync().ConfigureAwait false
                            }

                        use cancel = new CancellationTokenSource()
                        let echoes = ResizeArray<Task>()

                        let serving: Task =
                            task {
                                try
                                    while true do
                                        use! accepted = listener.AcceptAsync cancel.Token
                                        echoes.Add(echo (accepted.Open()))
                                with :? OperationCanceledException ->
                                    ()
                            }

                        let talk seed : Task =
                            task {
                                use! caller = Plain.connect listener.EndPoint
                                let random = Random(seed: int)

                                for _ in 1..100 do
                                    let content =
                                        Plain.noise (1 + random.Next(if random.Next 4 = 0 then 200_000 else 100))

                                    let sending = Plain.send caller content
                                    let! received = Plain.receive caller content.Length
                                    do! sending
                                    Expect.isTrue (received.AsSpan().SequenceEqual content) "the echo"
                            }

                        do! Task.WhenAll(Array.init 100 (fun seed -> Task.Run(fun () -> talk seed)))
                        cancel.Cancel()
                        do! finishes "the server" serving
                        do! finishes "the echoes" (Task.WhenAll echoes)
                        do! eventually "all sockets are gone" (fun () -> loops.All |> Seq.sumBy _.Sockets = 1)
                    }))
        ]
