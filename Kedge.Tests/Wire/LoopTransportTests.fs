/// Callers' connections on event loops, as the server sees them, against plain sockets.
module Kedge.Tests.Wire.LoopTransportTests

open System
open System.Buffers
open System.IO
open System.IO.Pipelines
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Wire.LoopPairs
open Kedge.Tests.Wire.LoopTests
open Kedge.Wire.Loops
open Kedge.Wire.Sockets
open Kedge.Wire.Transport
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Connections.Features

let private reading =
    testList
        "reading"
        [
            case "what was not consumed comes again, and what was looked at waits for more" (fun () ->
                withPair (fun connection caller ->
                    task {
                        do! Plain.send caller (bytes "one two")
                        let! first = read connection
                        Expect.equal (text first.Buffer) "one two" "at first"
                        (input connection).AdvanceTo(first.Buffer.GetPosition 4L)
                        // Not all of it was looked at.
                        let! second = read connection
                        Expect.equal (text second.Buffer) "two" "then"
                        (input connection).AdvanceTo(second.Buffer.Start, second.Buffer.End)
                        let waiting = read connection

                        do!
                            Absence.during (TimeSpan.FromMilliseconds 100.0) "the read ends" (fun () ->
                                Task.FromResult waiting.IsCompleted)

                        do! Plain.send caller (bytes " three")
                        let! third = waiting
                        Expect.equal (text third.Buffer) "two three" "at last"
                        (input connection).AdvanceTo third.Buffer.End
                        let isMore, _ = (input connection).TryRead()
                        Expect.isFalse isMore "nothing is left"
                    }))

            case "much content arrives whole, however it is consumed" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let content = Plain.noise 5_000_000
                        let sending = Plain.send caller content
                        let random = Random 1
                        let all = new MemoryStream()

                        while all.Length < int64 content.Length do
                            let! result = read connection
                            let count = random.NextInt64(result.Buffer.Length + 1L)
                            let consumed = result.Buffer.GetPosition count

                            all.Write(ReadOnlySpan(result.Buffer.Slice(0L, count).ToArray()))

                            (input connection)
                                .AdvanceTo(
                                    consumed,
                                    if random.Next 2 = 0 && all.Length < int64 content.Length - 100_000L then
                                        result.Buffer.End
                                    else
                                        consumed
                                )

                        do! sending
                        Expect.isTrue (all.ToArray().AsSpan().SequenceEqual content) "the content"
                    }))

            case "the caller's half close ends the input, and is reported; the output goes on to the end" (fun () ->
                withPair (fun connection caller ->
                    task {
                        do! Plain.send caller (bytes "request")
                        caller.Shutdown SocketShutdown.Send
                        let! all = readAll connection
                        Expect.equal all (bytes "request") "the input"
                        do! eventually "the end is reported" (fun () -> isClosed connection)
                        let! result = write connection (bytes "response")
                        Expect.isFalse result.IsCompleted "the output is open"
                        do! connection.DisposeAsync()
                        let! received = Plain.receiveAll caller
                        Expect.equal received (bytes "response") "what the caller received"
                    }))

            case "a caller that leaves is noticed while nothing is read" (fun () ->
                withPair (fun connection caller ->
                    task {
                        do! Plain.send caller (bytes "request")
                        caller.Dispose()
                        do! eventually "it is reported" (fun () -> isClosed connection)
                        let! result = read connection
                        Expect.equal (text result.Buffer) "request" "what it had sent"
                    }))

            case "a reset fails the read that waits, and is reported" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let waiting = (input connection).ReadAsync().AsTask()
                        Plain.reset caller
                        let! _ = failure<ConnectionResetException> "the read" (fun () -> waiting)
                        let! _ = failure<ConnectionResetException> "the next one" (fun () -> read connection)
                        do! eventually "it is reported" (fun () -> isClosed connection)
                    }))

            case "a read that waits can be canceled, and so can the next one" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let waiting = (input connection).ReadAsync().AsTask()
                        (input connection).CancelPendingRead()
                        let! first = within "the read" waiting
                        Expect.isTrue first.IsCanceled "the one that waits"
                        (input connection).AdvanceTo first.Buffer.End
                        (input connection).CancelPendingRead()
                        let! second = read connection
                        Expect.isTrue second.IsCanceled "the next one"
                        (input connection).AdvanceTo second.Buffer.End
                        use cancel = new CancellationTokenSource()
                        let third = (input connection).ReadAsync(cancel.Token).AsTask()
                        cancel.Cancel()
                        let! _ = failure<OperationCanceledException> "by a token" (fun () -> third)
                        do! Plain.send caller (bytes "still")
                        let! last = read connection
                        Expect.equal (last.IsCanceled, text last.Buffer) (false, "still") "afterwards"
                    }))
            case "a wait that was canceled too late does not end the next one" (fun () ->
                withPair (fun connection caller ->
                    task {
                        use early = new CancellationTokenSource()
                        let waiting = (input connection).ReadAsync(early.Token).AsTask()
                        do! Plain.send caller (bytes "one")
                        let! first = within "the read" waiting
                        (input connection).AdvanceTo first.Buffer.End
                        use late = new CancellationTokenSource()
                        let next = (input connection).ReadAsync(late.Token).AsTask()
                        early.Cancel()

                        do!
                            Absence.during (TimeSpan.FromMilliseconds 100.0) "the next read ends" (fun () ->
                                Task.FromResult next.IsCompleted)

                        late.Cancel()
                        let! _ = failure<OperationCanceledException> "the next one" (fun () -> next)

                        // While the bytes come.
                        for i in 1..300 do
                            use cancel = new CancellationTokenSource()
                            let racing = (input connection).ReadAsync(cancel.Token).AsTask()
                            let canceling = Task.Run(fun () -> cancel.Cancel())
                            do! Plain.send caller (bytes "two")
                            do! canceling

                            try
                                let! result = within $"race {i}" racing
                                (input connection).AdvanceTo result.Buffer.Start
                            with :? OperationCanceledException ->
                                ()

                            let mutable left = 3L

                            while left > 0L do
                                let! result = read connection
                                left <- left - result.Buffer.Length
                                (input connection).AdvanceTo result.Buffer.End
                    }))
        ]

let private writing =
    testList
        "writing"
        [
            case "what is written is sent when it is flushed" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let writer = output connection
                        writer.Write(ReadOnlySpan(bytes "one "))
                        Expect.equal writer.UnflushedBytes 4L "not flushed"
                        Expect.equal caller.Available 0 "nothing is sent"
                        writer.Write(ReadOnlySpan(bytes "two "))
                        let! _ = flush connection
                        let! _ = write connection (bytes "three")
                        let! received = Plain.receive caller 13
                        Expect.equal received (bytes "one two three") "what the caller received"
                    }))

            case "a flush waits for a caller that takes nothing, and loses nothing" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let content = Plain.noise 8_000_000
                        let written = (output connection).WriteAsync(content.AsMemory()).AsTask()

                        do!
                            Absence.during (TimeSpan.FromMilliseconds 200.0) "all is written" (fun () ->
                                Task.FromResult written.IsCompleted)

                        let! received = Plain.receive caller content.Length
                        let! result = within "the flush" written
                        Expect.isFalse result.IsCompleted "it was sent"
                        Expect.isTrue (received.AsSpan().SequenceEqual content) "what the caller received"
                    }))

            case "pieces of any size arrive in order, whichever threads write them" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let content = Plain.noise 3_000_000
                        let received = Plain.receive caller content.Length
                        let random = Random 2
                        let mutable at = 0

                        let loop =
                            match connection.Features.Get<IEventLoopFeature>() with
                            | null -> failtest "it is on no loop"
                            | feature ->
                                feature.ContinuesOnPool <- false
                                // The only one.
                                connection

                        while at < content.Length do
                            let size =
                                min
                                    (content.Length - at)
                                    (1 + random.Next(if random.Next 8 = 0 then 100_000 else 500))

                            let piece = content.AsMemory(at, size)
                            at <- at + size
                            let writer = output loop

                            match random.Next 3 with
                            | 0 ->
                                let! _ = within "a write" (writer.WriteAsync(piece).AsTask())
                                ()
                            | 1 ->
                                writer.Write piece.Span
                                let! _ = flush loop
                                ()
                            | _ ->
                                // Flushed with the next one.
                                writer.Write piece.Span

                        let! _ = flush connection
                        let! received = within "the content" received
                        Expect.isTrue (received.AsSpan().SequenceEqual content) "what the caller received"
                    }))

            case
                "what is flushed on the loop leaves at the end of the turn, also when the connection is closed in it"
                (fun () ->
                    withLoops 1 (fun loops ->
                        task {
                            let socket = Plain.listen 16
                            use listener = new LoopListener(loops, socket, MemoryPool<byte>.Shared)

                            for closes in [ false; true ] do
                                use! caller = Plain.connect listener.EndPoint
                                let! connection = accept listener

                                let! before, closing =
                                    onLoop loops.All[0] (fun () ->
                                        let writer = output connection
                                        writer.Write(ReadOnlySpan(bytes "one "))
                                        let first = writer.FlushAsync()
                                        let second = writer.WriteAsync((bytes "two").AsMemory())

                                        Expect.isTrue
                                            (first.IsCompleted && second.IsCompleted)
                                            "flushes that need not wait"

                                        Thread.Sleep 20

                                        caller.Available,
                                        (if closes then
                                             connection.DisposeAsync().AsTask()
                                         else
                                             Task.CompletedTask))

                                Expect.equal before 0 "nothing left in the turn"
                                let! received = Plain.receive caller 7
                                Expect.equal received (bytes "one two") "what the caller received"
                                do! finishes "the close" closing
                                connection.Abort()
                        }))

            case
                "what is flushed on a pool thread leaves without another flush, also when the connection is closed"
                (fun () ->
                    withLoops 1 (fun loops ->
                        task {
                            let socket = Plain.listen 16
                            use listener = new LoopListener(loops, socket, MemoryPool<byte>.Shared)
                            use! caller = Plain.connect listener.EndPoint
                            let! connection = accept listener
                            connection.ContinuesOnPool <- false
                            let onPool (body: unit -> Task) = finishes "on a pool thread" (Task.Run body)
                            let put (text: string) = (output connection).WriteAsync((bytes text).AsMemory())

                            for i in 1..500 do
                                do! onPool (fun () -> (put "pool ").AsTask())

                                if i % 2 = 0 then
                                    // The pool may not have sent it yet.
                                    let! flushed = onLoop loops.All[0] (fun () -> (put "loop ").IsCompleted)
                                    Expect.isTrue flushed "it need not wait"

                                let expected = if i % 2 = 0 then "pool loop " else "pool "
                                let! received = Plain.receive caller expected.Length
                                Expect.equal received (bytes expected) $"what the caller received, {i}"

                            let closing =
                                Task.Run<unit>(fun () ->
                                    task {
                                        let! _ = put "last"
                                        do! connection.DisposeAsync()
                                    })

                            let! received = Plain.receiveAll caller
                            Expect.equal received (bytes "last") "before the close"
                            do! finishes "the close" closing
                        }))

            case "a flush that waits can be canceled" (fun () ->
                withPair (fun connection _ ->
                    task {
                        let written =
                            (output connection).WriteAsync((Plain.noise 8_000_000).AsMemory()).AsTask()

                        (output connection).CancelPendingFlush()
                        let! result = within "the flush" written
                        Expect.isTrue result.IsCanceled "by the call"
                        use cancel = new CancellationTokenSource()

                        let next =
                            (output connection).WriteAsync((bytes "x").AsMemory(), cancel.Token).AsTask()

                        cancel.Cancel()
                        let! _ = failure<OperationCanceledException> "by a token" (fun () -> next)
                        ()
                    }))

            case "a caller that resets the connection ends the flush that waits" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let written =
                            (output connection).WriteAsync((Plain.noise 8_000_000).AsMemory()).AsTask()

                        Plain.reset caller
                        let! result = within "the flush" written
                        Expect.isTrue result.IsCompleted "nobody takes it"
                        let! result = write connection (bytes "more")
                        Expect.isTrue result.IsCompleted "nor what comes later"
                        do! eventually "it is reported" (fun () -> isClosed connection)
                    }))
        ]

let private closing =
    testList
        "closing"
        [
            case "an abort fails whoever waits, and those who come later, and resets the connection" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let reading = (input connection).ReadAsync().AsTask()

                        let writing =
                            (output connection).WriteAsync((Plain.noise 8_000_000).AsMemory()).AsTask()

                        connection.Abort(ConnectionAbortedException "enough")
                        connection.Abort(ConnectionAbortedException "once more")
                        let! error = failure<ConnectionAbortedException> "the read" (fun () -> reading)
                        Expect.equal error.Message "enough" "the reason"
                        let! result = within "the flush" writing
                        Expect.isTrue result.IsCompleted "the flush"
                        // A later read that would only wait has the server read again and again.
                        let! _ =
                            failure<ConnectionAbortedException> "a later read" (fun () -> read connection)

                        let! later = write connection (bytes "x")
                        Expect.isTrue later.IsCompleted "a later flush"
                        do! eventually "it is reported" (fun () -> isClosed connection)

                        let! error =
                            failure<SocketException> "the caller" (fun () -> Plain.receiveAll caller)

                        Expect.equal error.SocketErrorCode SocketError.ConnectionReset "the caller"
                        do! connection.DisposeAsync()
                    }))

            case "the end of the connection waits for a caller that is slow to take the last bytes" (fun () ->
                withPair (fun connection caller ->
                    task {
                        let content = Plain.noise 60_000
                        let mutable sent = 0

                        // Until the system takes no more, so that some is left with the connection.
                        let mutable filling = true

                        while filling do
                            let flushing = (output connection).WriteAsync(content.AsMemory()).AsTask()
                            sent <- sent + content.Length
                            let! first = Task.WhenAny(flushing, Task.Delay 200)
                            filling <- obj.ReferenceEquals(first, flushing)

                        let closing = connection.DisposeAsync().AsTask()
                        let! received = Plain.receiveAll caller
                        do! finishes "the close" closing
                        Expect.equal received.Length sent "what the caller received"
                    }))

            case "what a caller has sent and nobody has read does not cost it the response" (fun () ->
                withPair (fun connection caller ->
                    task {
                        do! Plain.send caller (Plain.noise 50_000)
                        let! _ = read connection
                        let! _ = write connection (bytes "rejected")
                        do! connection.DisposeAsync()
                        let! received = Plain.receiveAll caller
                        Expect.equal received (bytes "rejected") "what the caller received"
                    }))

            case "a read that waits when the connection is closed ends" (fun () ->
                withPair (fun connection _ ->
                    task {
                        let waiting = (input connection).ReadAsync().AsTask()
                        do! finishes "the close" (connection.DisposeAsync().AsTask())
                        let! _ = failure<ConnectionAbortedException> "the read" (fun () -> waiting)
                        do! eventually "it is reported" (fun () -> isClosed connection)
                    }))
        ]

[<Tests>]
let tests = testList "connections on event loops" [ reading; writing; closing ]
