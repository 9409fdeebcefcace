/// Connections to endpoints on event loops, against plain sockets.
module Kedge.Tests.Wire.LoopChannelTests

open System
open System.IO
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Wire.LoopTests
open Kedge.Wire.Loops
open Kedge.Wire.Sockets

let private bytes (text: string) = Encoding.Latin1.GetBytes text

let private pair (loops: EventLoops) : Task<ByteChannel * Socket> =
    task {
        use listener = Plain.listen 16

        let! channel =
            LoopChannel.ConnectAsync(loops.LeastLoaded(), Plain.address listener, CancellationToken.None)

        let! peer = listener.AcceptAsync()
        return channel, peer
    }

let private withPair (body: ByteChannel -> Socket -> Task<unit>) : Task<unit> =
    withLoops 1 (fun loops ->
        task {
            let! channel, peer = pair loops
            use peer = peer

            try
                do! body channel peer
            finally
                channel.Abort()
        })

let private read (channel: ByteChannel) (buffer: byte array) : Task<int> =
    within "a read" (channel.ReadAsync(buffer.AsMemory()).AsTask())

/// What comes until the peer ends its side.
let private readAll (channel: ByteChannel) : Task<byte array> =
    task {
        let all = new MemoryStream()
        let buffer = Array.zeroCreate<byte> 10_000
        let mutable reading = true

        while reading do
            let! count = read channel buffer
            all.Write(buffer, 0, count)
            reading <- count > 0

        return all.ToArray()
    }

let private write (channel: ByteChannel) (content: byte array) : Task<unit> =
    finishes "a write" (channel.WriteAsync(content.AsMemory()).AsTask())

[<Tests>]
let tests =
    testList
        "channels on event loops"
        [
            case "bytes pass both ways, and the end of the peer's side" (fun () ->
                withPair (fun channel peer ->
                    task {
                        do! write channel (bytes "hello")
                        let! received = Plain.receive peer 5
                        Expect.equal received (bytes "hello") "what the peer received"
                        do! Plain.send peer (bytes "world")
                        peer.Shutdown SocketShutdown.Send
                        let! all = readAll channel
                        Expect.equal all (bytes "world") "what was read"
                        // The other direction is still open.
                        do! write channel (bytes "more")
                        let! more = Plain.receive peer 4
                        Expect.equal more (bytes "more") "after the end"
                    }))

            case "bytes and the end that come in one event are both read" (fun () ->
                withPair (fun channel peer ->
                    task {
                        // The loop is held until all of it has arrived.
                        use release = new ManualResetEventSlim()

                        let held =
                            match channel.Loop with
                            | null -> failtest "it has no loop"
                            | loop -> onLoop loop (fun () -> release.Wait())

                        let all = readAll channel
                        do! Plain.send peer (bytes "the end")
                        peer.Shutdown SocketShutdown.Send
                        do! Task.Delay 50
                        release.Set()
                        do! held
                        let! all = within "the end" all
                        Expect.equal all (bytes "the end") "what was read"
                    }))

            case "a write waits for a peer that does not read, and loses nothing" (fun () ->
                withPair (fun channel peer ->
                    task {
                        let content = Plain.noise 8_000_000
                        let written = channel.WriteAsync(content.AsMemory()).AsTask()

                        do!
                            Absence.during (TimeSpan.FromMilliseconds 200.0) "all is written" (fun () ->
                                Task.FromResult written.IsCompleted)

                        let! received = Plain.receive peer content.Length
                        do! finishes "the write" written
                        Expect.isTrue (received.AsSpan().SequenceEqual(content)) "what the peer received"
                    }))

            case "a reset fails the read that waits, and the next one" (fun () ->
                withPair (fun channel peer ->
                    task {
                        let waiting = channel.ReadAsync(Array.zeroCreate<byte>(10).AsMemory()).AsTask()
                        Plain.reset peer

                        for what, work in
                            [
                                "the read that waits", fun () -> waiting :> Task
                                "the next one", fun () -> read channel (Array.zeroCreate 10)
                            ] do
                            let! error = failure<IOException> what work

                            match error.InnerException with
                            | :? SocketException as cause ->
                                Expect.equal cause.SocketErrorCode SocketError.ConnectionReset what
                            | other -> failtestf "%s: the cause is %O" what other
                    }))

            case "a reset that a read of nothing finds fails the next read" (fun () ->
                withPair (fun channel peer ->
                    task {
                        do! Plain.send peer (bytes "begun")
                        let! count = read channel (Array.zeroCreate 10)
                        Expect.equal count 5 "what came before"
                        Plain.reset peer

                        let! _ =
                            within "the read of nothing" (channel.ReadAsync(Memory<byte>.Empty).AsTask())

                        let! _ =
                            failure<IOException> "the next one" (fun () -> read channel (Array.zeroCreate 10))

                        ()
                    }))

            case
                "whoever waits when the channel is aborted gets an IOException, and so do those who come later"
                (fun () ->
                    withPair (fun channel peer ->
                        task {
                            let reading = channel.ReadAsync(Array.zeroCreate<byte>(10).AsMemory()).AsTask()
                            let writing = channel.WriteAsync((Plain.noise 8_000_000).AsMemory()).AsTask()
                            channel.Abort()
                            channel.Abort()

                            for what, work in
                                [
                                    "a read", (fun () -> reading :> Task)
                                    "a write", (fun () -> writing)
                                    "a later read", (fun () -> read channel (Array.zeroCreate 10))
                                    "a later write", (fun () -> write channel (bytes "x"))
                                    "a later read of nothing", (fun () -> read channel [||])
                                ] do
                                let! _ = failure<IOException> what work
                                ()

                            let! _ = Plain.receiveAll peer
                            ()
                        }))

            case "a canceled read takes nothing, and the channel can still be used" (fun () ->
                withPair (fun channel peer ->
                    task {
                        use cancel = new CancellationTokenSource()
                        let buffer = Array.zeroCreate<byte> 10
                        let waiting = channel.ReadAsync(buffer.AsMemory(), cancel.Token).AsTask()
                        cancel.Cancel()
                        let! _ = failure<OperationCanceledException> "the read" (fun () -> waiting)
                        do! Plain.send peer (bytes "still")
                        let! count = read channel buffer
                        Expect.equal (buffer.AsSpan(0, count).ToArray()) (bytes "still") "what was read"
                    }))

            case "a canceled write ends the channel" (fun () ->
                withPair (fun channel _ ->
                    task {
                        use cancel = new CancellationTokenSource()

                        let waiting =
                            channel.WriteAsync((Plain.noise 8_000_000).AsMemory(), cancel.Token).AsTask()

                        cancel.Cancel()
                        let! _ = failure<OperationCanceledException> "the write" (fun () -> waiting)
                        let! _ = failure<IOException> "the next one" (fun () -> write channel (bytes "x"))
                        ()
                    }))

            case "a read of nothing waits for something, and takes nothing" (fun () ->
                withPair (fun channel peer ->
                    task {
                        let buffer = Array.zeroCreate<byte> 4
                        do! Plain.send peer (bytes "1234")
                        // Fills the buffer, so that only the system knows that there is no more.
                        let! _ = read channel buffer
                        let waiting = channel.ReadAsync(Memory<byte>.Empty).AsTask()

                        do!
                            Absence.during (TimeSpan.FromMilliseconds 200.0) "the read ends" (fun () ->
                                Task.FromResult waiting.IsCompleted)

                        do! Plain.send peer (bytes "5678")
                        let! none = within "the read of nothing" waiting
                        let! count = read channel buffer
                        Expect.equal (none, count, buffer) (0, 4, bytes "5678") "what was read"
                    }))

            case "a refused connection says so" (fun () ->
                withLoops 1 (fun loops ->
                    task {
                        let address =
                            use listener = Plain.listen 1
                            Plain.address listener

                        let connect () =
                            LoopChannel.ConnectAsync(loops.All[0], address, CancellationToken.None).AsTask()

                        let! error = failure<IOException> "the connection" (fun () -> connect ())
                        Expect.equal error.Message "ConnectionRefused" "why"
                        Expect.equal loops.All[0].Sockets 0 "sockets of the loop"
                    }))

            case "a connection that nobody accepts can be canceled" (fun () ->
                withLoops 1 (fun loops ->
                    task {
                        use listener = Plain.listen 0
                        // What the backlog holds.
                        let! held = Task.WhenAll [| Plain.connect (Plain.address listener) |]
                        use cancel = new CancellationTokenSource(TimeSpan.FromMilliseconds 300.0)

                        let connect () : Task =
                            task {
                                // The first ones may still find room.
                                for _ in 1..8 do
                                    let! _ =
                                        LoopChannel.ConnectAsync(loops.All[0], Plain.address listener, cancel.Token)

                                    ()
                            }

                        let! _ = failure<OperationCanceledException> "the connection" connect

                        for socket in held do
                            socket.Dispose()
                    }))

            case "those who wait continue on the loop, or on the pool if they ask for it" (fun () ->
                withPair (fun channel peer ->
                    task {
                        let where () : Task<EventLoop | null> =
                            task {
                                let! _ =
                                    channel.ReadAsync(Array.zeroCreate<byte>(10).AsMemory()).ConfigureAwait false

                                return EventLoop.Current
                            }

                        let onLoop = where ()
                        do! Plain.send peer (bytes "1")
                        let! loop = within "the loop" onLoop
                        Expect.isTrue (obj.ReferenceEquals(loop, channel.Loop)) "on its loop"
                        channel.ContinuesOnPool <- true
                        let onPool = where ()
                        do! Plain.send peer (bytes "2")
                        let! none = within "the pool" onPool
                        Expect.isNull none "on the pool"
                    }))

            case "a connection that always has bytes leaves their turn to the others" (fun () ->
                withLoops 1 (fun loops ->
                    task {
                        let! flood, flooding = pair loops
                        let! other, peer = pair loops
                        use flooding = flooding
                        use peer = peer
                        use stop = new CancellationTokenSource()

                        // As fast as they are read, whenever that is.
                        let flooder =
                            Task.Run(fun () ->
                                let content = Plain.noise 65536

                                try
                                    while not stop.IsCancellationRequested do
                                        flooding.Send content |> ignore
                                with :? SocketException ->
                                    ())

                        let mutable taken = 0L

                        let reader: Task =
                            task {
                                let buffer = Array.zeroCreate<byte> 256

                                try
                                    while true do
                                        let! count = flood.ReadAsync(buffer.AsMemory()).ConfigureAwait false
                                        Volatile.Write(&taken, taken + int64 count)
                                        // The reader is slower than the flood: there is always more.
                                        Thread.SpinWait 200
                                with :? IOException ->
                                    ()
                            }

                        do! eventually "the flood runs" (fun () -> Volatile.Read &taken > 1_000_000L)

                        for _ in 1..50 do
                            let reading = read other (Array.zeroCreate 10)
                            do! Plain.send peer (bytes "x")
                            let! _ = reading
                            ()

                        stop.Cancel()
                        flood.Abort()
                        other.Abort()
                        do! finishes "the flood" (Task.WhenAll(reader, flooder))
                    }))

            case "many connections at once, each with its own bytes, lose no wake-up" (fun () ->
                withLoops 2 (fun loops ->
                    task {
                        let talk seed : Task =
                            task {
                                let! channel, peer = pair loops
                                use peer = peer
                                let random = Random(seed: int)

                                let echo: Task =
                                    task {
                                        let buffer = Array.zeroCreate<byte> 20_000
                                        let mutable echoing = true

                                        while echoing do
                                            let! count = peer.ReceiveAsync(buffer.AsMemory(), SocketFlags.None)
                                            echoing <- count > 0
                                            do! Plain.send peer (buffer.AsSpan(0, count).ToArray())
                                    }

                                for _ in 1..100 do
                                    let content =
                                        Plain.noise (1 + random.Next(if random.Next 4 = 0 then 30_000 else 100))

                                    let back = Array.zeroCreate<byte> content.Length

                                    let reading: Task =
                                        task {
                                            let mutable have = 0

                                            while have < back.Length do
                                                let size = 1 + random.Next(back.Length - have)

                                                let! count =
                                                    channel.ReadAsync(back.AsMemory(have, size)).ConfigureAwait false

                                                Expect.isGreaterThan count 0 "bytes"
                                                have <- have + count
                                        }

                                    do! write channel content
                                    do! finishes "the echo" reading
                                    Expect.isTrue (back.AsSpan().SequenceEqual content) "the echo"

                                channel.Abort()
                                do! finishes "the peer" echo
                            }

                        do! Task.WhenAll(Array.init 100 (fun seed -> Task.Run(fun () -> talk seed)))
                        do! eventually "all sockets are gone" (fun () -> loops.All |> Seq.sumBy _.Sockets = 0)
                    }))
        ]
