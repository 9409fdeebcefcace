/// A connection of the server on an event loop, and its caller on a plain socket.
module internal Kedge.Tests.Wire.LoopPairs

open System
open System.Buffers
open System.IO
open System.IO.Pipelines
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.Harness
open Kedge.Tests.Wire.LoopTests
open Kedge.Wire.Transport

let bytes (text: string) = Encoding.Latin1.GetBytes text
let text (sequence: ReadOnlySequence<byte>) = Encoding.Latin1.GetString(sequence.ToArray())

let accept (listener: LoopListener) : Task<LoopConnection> =
    task {
        use! accepted =
            within "a connection" (listener.AcceptAsync(CancellationToken.None).AsTask())

        return accepted.Open()
    }

/// A connection of the server and its caller.
let withPair (body: LoopConnection -> Socket -> Task<unit>) : Task<unit> =
    withLoops 1 (fun loops ->
        task {
            let socket = Plain.listen 16
            use listener = new LoopListener(loops, socket, MemoryPool<byte>.Shared)
            use! caller = Plain.connect listener.EndPoint
            let! connection = accept listener
            do! body connection caller
            connection.Abort()
        })

let input (connection: LoopConnection) = connection.Transport.Input
let output (connection: LoopConnection) = connection.Transport.Output

let read (connection: LoopConnection) : Task<ReadResult> = within "a read" ((input connection).ReadAsync().AsTask())

let flush (connection: LoopConnection) : Task<FlushResult> =
    within "a flush" ((output connection).FlushAsync().AsTask())

let write (connection: LoopConnection) (content: byte array) : Task<FlushResult> =
    within "a write" ((output connection).WriteAsync(content.AsMemory()).AsTask())

let isClosed (connection: LoopConnection) = connection.ConnectionClosed.IsCancellationRequested

/// Reads to the end of the caller's side.
let readAll (connection: LoopConnection) : Task<byte array> =
    task {
        let all = new MemoryStream()
        let mutable reading = true

        while reading do
            let! result = read connection

            all.Write(ReadOnlySpan(result.Buffer.ToArray()))

            (input connection).AdvanceTo result.Buffer.End
            reading <- not result.IsCompleted

        return all.ToArray()
    }
