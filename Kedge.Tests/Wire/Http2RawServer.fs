namespace Kedge.Tests.Wire

open System
open System.Buffers.Binary
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.Harness
open Kedge.Wire.Http2
open Kedge.Wire.Http2.Hpack
open Kedge.Wire.Sockets
open Kedge.Wire.Upstream

/// A frame as it came, or is to go out.
type RawFrame =
    {
        Kind: byte
        Flags: byte
        Stream: int
        Payload: byte array
    }

/// One connection of an HTTP/2 server that writes frames as a test says, sound or not.
type RawHttp2(stream: NetworkStream) =
    let decoder = HpackDecoder 4096

    let number (value: uint32) =
        let bytes = Array.zeroCreate<byte> 4
        BinaryPrimitives.WriteUInt32BigEndian(Span bytes, value)
        bytes

    let frame (kind: byte) (flags: byte) (id: int) (payload: byte array) =
        [|
            byte (payload.Length >>> 16)
            byte (payload.Length >>> 8)
            byte payload.Length
            kind
            flags
            yield! number (uint32 id)
            yield! payload
        |]

    member _.Stream = stream

    member _.Write(bytes: byte array) : Task = stream.WriteAsync(bytes.AsMemory()).AsTask()

    member this.Send(kind, flags, id, payload) : Task = this.Write(frame kind flags id payload)

    /// Several frames in one write.
    member this.SendAll(frames: (byte * byte * int * byte array) list) : Task =
        frames
        |> List.map (fun (kind, flags, id, payload) -> frame kind flags id payload)
        |> Array.concat
        |> this.Write

    member this.Settings(values: (int * uint32) list) =
        this.Send(
            4uy,
            0uy,
            0,
            [|
                for id, value in values do
                    byte (id >>> 8)
                    byte id
                    yield! number value
            |]
        )

    member this.Headers(id, fields, isEnd) = this.Send(1uy, (if isEnd then 5uy else 4uy), id, HeaderBlock.plain fields)

    member this.Data(id, content: byte array, isEnd) = this.Send(0uy, (if isEnd then 1uy else 0uy), id, content)

    /// A whole small response.
    member this.Respond(id, text: string) =
        task {
            do! this.Headers(id, [ ":status", "200" ], false)
            do! this.Data(id, Encoding.Latin1.GetBytes text, true)
        }

    member this.Reset(id, code: uint32) = this.Send(3uy, 0uy, id, number code)

    member this.GoAway(last: int, code: uint32) =
        this.Send(7uy, 0uy, 0, Array.append (number (uint32 last)) (number code))

    member this.Window(id, increment: int) = this.Send(8uy, 0uy, id, number (uint32 increment))

    /// The next frame, whatever it is; fails at the end of the connection.
    member _.ReadAny() =
        task {
            use limit = new CancellationTokenSource(patience)
            let head = Array.zeroCreate<byte> 9
            do! stream.ReadExactlyAsync(head.AsMemory(), limit.Token)
            let length = (int head[0] <<< 16) + (int head[1] <<< 8) + int head[2]
            let payload = Array.zeroCreate<byte> length
            do! stream.ReadExactlyAsync(payload.AsMemory(), limit.Token)

            return
                {
                    Kind = head[3]
                    Flags = head[4]
                    Stream = int (BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(head, 5, 4)))
                    Payload = payload
                }
        }

    /// The next frame of a stream or GOAWAY: HEADERS, DATA, RST_STREAM. SETTINGS and PING are answered.
    member this.Read() =
        task {
            let mutable found = None

            while found.IsNone do
                let! frame = this.ReadAny()

                match frame.Kind with
                | 0uy
                | 1uy
                | 3uy
                | 7uy -> found <- Some frame
                | 6uy when frame.Flags = 0uy -> do! this.Send(6uy, 1uy, 0, frame.Payload)
                | 4uy when frame.Flags = 0uy -> do! this.Send(4uy, 1uy, 0, [||])
                | _ -> ()

            return found.Value
        }

    /// The next frame, which must be of that kind.
    member this.Expect(kind: byte) =
        task {
            let! frame = this.Read()

            if frame.Kind <> kind then
                failwithf "a frame of type %d in place of %d: %A" frame.Kind kind frame

            return frame
        }

    /// Decodes a header block.
    member _.Fields(frame: RawFrame) =
        let block = HeaderBlock 1_000_000

        if not (decoder.TryDecode(ReadOnlySpan frame.Payload, block)) then
            failwith "a header block cannot be decoded"

        [ for field in block.Fields.ToArray() -> field.Name.Text, field.Value ]

    /// Reads a whole request: its header section, its content and its trailers.
    member this.Request() =
        task {
            let! head = this.Expect 1uy
            let fields = this.Fields head
            let content = new MemoryStream()
            let mutable trailers = []
            let mutable isOpen = head.Flags &&& 1uy = 0uy

            while isOpen do
                let! frame = this.Read()
                isOpen <- frame.Flags &&& 1uy = 0uy

                match frame.Kind with
                | 0uy ->
                    content.Write(frame.Payload, 0, frame.Payload.Length)

                    if frame.Payload.Length > 0 then
                        do! this.Window(0, frame.Payload.Length)
                        do! this.Window(head.Stream, frame.Payload.Length)
                | 1uy -> trailers <- this.Fields frame
                | _ -> failwithf "within a request: %A" frame

            return head.Stream, fields, content.ToArray(), trailers
        }

    /// Reads the connection preface of the client, and sends settings.
    member this.Begin(settings) =
        task {
            do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(24).AsMemory())
            do! this.Settings settings
        }

    /// Reads until the client closes the connection, and yields the frames of streams and GOAWAY that came.
    member this.ReadToEnd() =
        task {
            let frames = ResizeArray()

            try
                while true do
                    let! frame = this.Read()
                    frames.Add frame
            with
            | :? EndOfStreamException
            | :? IOException -> ()

            return List.ofSeq frames
        }

/// An HTTP/2 server whose connections run a script, after the settings.
type RawHttp2Server(settings: (int * uint32) list, script: RawHttp2 -> Task) =
    let failures = ConcurrentQueue<exn>()

    let peer =
        new RawPeer(fun stream ->
            task {
                let connection = RawHttp2 stream

                try
                    do! connection.Begin settings
                    do! script connection
                with
                | :? IOException
                | :? SocketException as e -> raise e
                | e ->
                    failures.Enqueue e
                    raise (IOException("the script failed", e))
            })

    member _.Port = peer.Port
    member _.Accepted = peer.Accepted

    /// What scripts have failed with.
    member _.Failures = List.ofSeq failures

    interface IDisposable with
        member _.Dispose() = (peer :> IDisposable).Dispose()

/// Counts what a connection says to its owner.
type RecordingOwner() =
    let mutable available = 0
    let mutable retired = 0
    let mutable closed = 0
    member _.Available = Volatile.Read &available
    member _.Retired = Volatile.Read &retired
    member _.Closed = Volatile.Read &closed

    interface IConnectionOwner with
        member _.Available _ = Interlocked.Increment &available |> ignore
        member _.Retired _ = Interlocked.Increment &retired |> ignore
        member _.Closed _ = Interlocked.Increment &closed |> ignore

/// Content that a test writes piece by piece.
type SteppedContent(write: Stream -> Task) =
    inherit HttpContent()
    override _.SerializeToStreamAsync(stream, _) = write stream

    override _.TryComputeLength(length) =
        length <- -1L
        false

[<RequireQualifiedAccess>]
module Client =

    let startAt (port: int) (options: Http2Options) (owner: IConnectionOwner) =
        task {
            let! channel =
                SocketChannel.ConnectAsync(IPEndPoint(IPAddress.Loopback, port), CancellationToken.None)

            return! Http2Connection.StartAsync(channel, options, owner, ConnectionObserver.None, CancellationToken.None)
        }

    let start (port: int) = startAt port Http2Options.Default (RecordingOwner())

    let get (target: string) =
        UpstreamRequest(Method = "GET", Target = target, Scheme = "http", Authority = "a.example")

    let post (target: string) (content: HttpContent) =
        UpstreamRequest(Method = "POST", Target = target, Scheme = "http", Authority = "a.example", Content = content)

    let send (connection: IUpstreamConnection) (request: UpstreamRequest) : Task<UpstreamResponse> =
        if not (connection.TryReserve()) then
            failwith "no stream is free"

        connection.SendAsync(request, CancellationToken.None).AsTask()

    let read (response: UpstreamResponse) : Task<string> =
        task {
            use response = response
            let! stream = response.Content.ReadAsStreamAsync()
            use reader = new StreamReader(stream, Encoding.Latin1)
            return! reader.ReadToEndAsync()
        }
