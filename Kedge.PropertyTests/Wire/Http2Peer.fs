namespace Kedge.PropertyTests.Wire

open System
open System.Buffers.Binary
open System.Collections.Generic
open System.Text
open Kedge.Wire.Http2
open Kedge.Wire.Http2.Hpack
open Kedge.Wire.Upstream

/// A frame that a peer sends, sound or not.
type PeerFrame =
    {
        Kind: byte
        Flags: byte
        Stream: int
        Payload: byte array
    }

[<RequireQualifiedAccess>]
module PeerFrame =

    let make kind flags stream payload =
        {
            Kind = kind
            Flags = flags
            Stream = stream
            Payload = payload
        }

    let number (value: uint32) =
        let bytes = Array.zeroCreate<byte> 4
        BinaryPrimitives.WriteUInt32BigEndian(Span bytes, value)
        bytes

    let data stream isEnd (content: byte array) = make 0uy (if isEnd then 1uy else 0uy) stream content

    let headers stream isEnd (block: byte array) = make 1uy (if isEnd then 5uy else 4uy) stream block

    let reset stream (code: uint32) = make 3uy 0uy stream (number code)

    let settings (values: (int * uint32) list) =
        make
            4uy
            0uy
            0
            [|
                for id, value in values do
                    byte (id >>> 8)
                    byte id
                    yield! number value
            |]

    let ping = make 6uy 0uy 0 (Array.zeroCreate 8)

    let goAway (last: int) (code: uint32) = make 7uy 0uy 0 (Array.append (number (uint32 last)) (number code))

    let window stream (increment: uint32) = make 8uy 0uy stream (number increment)

    /// A literal that no table takes in, with lengths below 127.
    let literal (name: string) (value: string) =
        [|
            0uy
            byte name.Length
            yield! Encoding.Latin1.GetBytes name
            byte value.Length
            yield! Encoding.Latin1.GetBytes value
        |]

    let block (fields: (string * string) list) =
        fields |> List.map (fun (name, value) -> literal name value) |> Array.concat

    /// The header block of `:status: 200`.
    let ok = [| 0x88uy |]

    let bytes frame =
        let length = frame.Payload.Length

        [|
            byte (length >>> 16)
            byte (length >>> 8)
            byte length
            frame.Kind
            frame.Flags
            yield! number (uint32 frame.Stream)
            yield! frame.Payload
        |]

    /// The frames in what a session has written, without the connection preface.
    let parse (bytes: byte array) =
        [
            let mutable at = 0

            while at < bytes.Length do
                let length = (int bytes[at] <<< 16) + (int bytes[at + 1] <<< 8) + int bytes[at + 2]

                {
                    Kind = bytes[at + 3]
                    Flags = bytes[at + 4]
                    Stream = int (BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, at + 5, 4)))
                    Payload = bytes[at + 9 .. at + 8 + length]
                }

                at <- at + 9 + length
        ]

/// What a stream was called with.
type StreamEvent =
    | Informational of int
    | Head of status: int * fields: (string * string) list * length: int64 option * isEnd: bool
    | Data of byte array
    | End of trailers: (string * string) list
    | Unwanted
    | Failed of kind: FailureKind * sent: SentState * code: uint32 option

[<RequireQualifiedAccess>]
module StreamEvent =

    /// Whether the stream ends with it.
    let isTerminal event =
        match event with
        | Failed _
        | End _
        | Head(_, _, _, true) -> true
        | _ -> false

/// Notes what it is called with.
type RecordingStream() =
    inherit Http2StreamState()
    let events = ResizeArray<StreamEvent>()

    let fields (list: FieldList) = [ for field in list.AsSpan().ToArray() -> field.Name, field.Value ]

    member _.Events = List.ofSeq events

    member _.Content =
        events
        |> Seq.sumBy (function
            | Data content -> content.Length
            | _ -> 0)

    override _.OnInformational(status, _) = events.Add(Informational status)

    override _.OnHead(status, list, length, isEnd) =
        events.Add(Head(status, fields list, Option.ofNullable length, isEnd))

    override _.OnData content = events.Add(Data(content.ToArray()))

    override _.OnEnd trailers =
        events.Add(
            End(
                match trailers with
                | null -> []
                | list -> fields list
            )
        )

    override _.OnRequestUnwanted() = events.Add Unwanted

    override _.OnFailed failure =
        events.Add(Failed(failure.Kind, failure.Sent, failure.Code |> Option.ofNullable |> Option.map uint32))

/// A session with its streams, and the bytes that were not taken yet.
type Session(options: Http2Options) =
    let session = Http2Session(options, ConnectionObserver.None)
    let streams = ResizeArray<RecordingStream>()
    let written = ResizeArray<byte>()
    let mutable rest = Array.empty<byte>

    let take () =
        let full = session.SwapOutput(OutputBuffer())
        written.AddRange(full.Memory.ToArray())

    do session.Start()

    static member Request(target: string) =
        UpstreamRequest(Method = "POST", Target = target, Scheme = "http", Authority = "a.example")

    member _.Inner = session
    member _.Streams = streams

    /// Hands over what is to be written.
    member _.Write() = take ()

    /// All that was written since the last call, without the connection preface.
    member _.Written() =
        take ()
        let bytes = written.ToArray()
        written.Clear()
        let preface = FrameWriter.Preface.ToArray()

        if bytes.Length >= 24 && bytes[..23] = preface then
            bytes[24..]
        else
            bytes

    /// The code of the last GOAWAY that was written since the last call of Written.
    member this.Farewell() =
        this.Written()
        |> PeerFrame.parse
        |> List.filter (fun frame -> frame.Kind = 7uy)
        |> List.tryLast
        |> Option.map (fun frame -> frame.Payload[7])

    /// None when no stream could be opened.
    member _.TryOpen(request: UpstreamRequest, isEnd: bool) =
        let stream = RecordingStream()

        if session.TryOpen(stream, request, isEnd) then
            streams.Add stream
            Some stream
        else
            None

    member this.Open(isEnd: bool) =
        match this.TryOpen(Session.Request "/", isEnd) with
        | Some stream -> stream
        | None -> failwith "no stream could be opened"

    member _.Receive(bytes: byte array, now: int64) =
        rest <- Array.append rest bytes
        let taken = session.Receive(ReadOnlySpan rest, now)
        rest <- rest[taken..]

    member this.Receive(frames: PeerFrame list) = this.Receive(frames |> List.map PeerFrame.bytes |> Array.concat, 0L)

    /// What has not been taken: less than a frame, unless the connection is over.
    member _.Rest = rest.Length

    /// Ready, with so many open streams, whose requests have ended or not.
    static member Ready(options: Http2Options, streams: int, isEnd: bool) =
        let session = Session options
        session.Receive [ PeerFrame.settings [] ]

        for _ in 1..streams do
            session.Open isEnd |> ignore

        session.Write()
        session
