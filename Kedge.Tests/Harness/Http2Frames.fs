namespace Kedge.Tests.Harness

open System
open System.IO
open System.Net.Security
open System.Text
open System.Threading
open System.Threading.Tasks

/// What an HTTP/2 server did to a stream or its connection.
type Http2Event =
    | Status of stream: int * status: int
    | Ended of stream: int
    | Reset of stream: int * code: uint32
    | GoAway of code: uint32
    | PingAck
    | Closed

/// HPACK without its compression.
[<RequireQualifiedAccess>]
module HeaderBlock =

    /// RFC 7541, 5.1: an integer behind a prefix of seven bits.
    let private text (value: string) =
        let bytes = Encoding.Latin1.GetBytes value

        [|
            if bytes.Length < 127 then
                byte bytes.Length
            else
                127uy
                let mutable rest = bytes.Length - 127

                while rest >= 128 do
                    byte (rest % 128 + 128)
                    rest <- rest / 128

                byte rest
            yield! bytes
        |]

    /// Each field as a literal that no table remembers.
    let plain (fields: (string * string) list) : byte array =
        fields
        |> List.map (fun (name, value) -> Array.concat [ [| 0uy |]; text name; text value ])
        |> Array.concat

/// An HTTP/2 client that writes frames as it is told, sound or not.
type Http2Frames private (client: RawClient) =
    let stream = client.Stream

    let frame (kind: byte) (flags: byte) (id: int) (payload: byte array) =
        [|
            byte (payload.Length >>> 16)
            byte (payload.Length >>> 8)
            byte payload.Length
            kind
            flags
            byte (id >>> 24)
            byte (id >>> 16)
            byte (id >>> 8)
            byte id
            yield! payload
        |]

    /// The status in the first header block of a server's stream: the first field, indexed or with an indexed name.
    let statusOf (block: byte array) =
        let fixedStatuses = [| 200; 204; 206; 304; 400; 404; 500 |]
        let mutable at = 0

        // Updates of the dynamic table's size.
        while block[at] &&& 0xE0uy = 0x20uy do
            if block[at] &&& 0x1Fuy = 0x1Fuy then
                at <- at + 1

                while block[at] >= 128uy do
                    at <- at + 1

            at <- at + 1

        if block[at] >= 0x88uy && block[at] <= 0x8Euy then
            fixedStatuses[int block[at] - 0x88]
        else
            int (Encoding.Latin1.GetString(block, at + 2, 3))

    let send (bytes: byte array) : Task = stream.WriteAsync(bytes.AsMemory()).AsTask()

    static member Connect(port: int) =
        task {
            let! client = RawClient.Connect(port, None, [ SslApplicationProtocol.Http2 ])
            let frames = new Http2Frames(client)
            do! client.Write "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            do! frames.Send(4uy, 0uy, 0, [||])
            return frames
        }

    member _.Send(kind: byte, flags: byte, id: int, payload: byte array) : Task = send (frame kind flags id payload)

    /// HEADERS with END_HEADERS.
    member this.Headers(id: int, fields: (string * string) list, ended: bool) : Task =
        this.Send(1uy, (if ended then 5uy else 4uy), id, HeaderBlock.plain fields)

    /// DATA with END_STREAM.
    member this.Data(id: int, content: string) : Task = this.Send(0uy, 1uy, id, Encoding.Latin1.GetBytes content)

    /// RST_STREAM with CANCEL.
    member this.Reset(id: int) : Task = this.Send(3uy, 0uy, id, [| 0uy; 0uy; 0uy; 8uy |])

    /// Events up to the first that fits, or to the end of the connection, or to ten silent seconds.
    member _.ReadUntil(isLast: Http2Event -> bool) : Task<Http2Event list> =
        task {
            let events = ResizeArray<Http2Event>()
            let mutable reading = true

            let add event =
                events.Add event
                reading <- reading && not (isLast event)

            let number (bytes: byte array) at =
                Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, at, 4))

            try
                while reading do
                    use limit = new CancellationTokenSource(TimeSpan.FromSeconds 10.0)
                    let head = Array.zeroCreate<byte> 9
                    do! stream.ReadExactlyAsync(head.AsMemory(), limit.Token)
                    let length = (int head[0] <<< 16) + (int head[1] <<< 8) + int head[2]
                    let payload = Array.zeroCreate<byte> length
                    do! stream.ReadExactlyAsync(payload.AsMemory(), limit.Token)
                    let id = int (number head 5)

                    match head[3] with
                    | 0uy when head[4] &&& 1uy = 1uy -> add (Ended id)
                    | 1uy ->
                        add (Status(id, statusOf payload))

                        if head[4] &&& 1uy = 1uy then
                            add (Ended id)
                    | 3uy -> add (Reset(id, number payload 0))
                    | 6uy when head[4] &&& 1uy = 1uy -> add PingAck
                    | 7uy -> add (GoAway(number payload 4))
                    | _ -> ()
            with
            | :? IOException -> add Closed
            | :? OperationCanceledException -> ()

            return List.ofSeq events
        }

    interface IDisposable with
        member _.Dispose() = (client :> IDisposable).Dispose()
