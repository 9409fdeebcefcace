namespace Kedge.Tests.Harness

open System
open System.Collections.Generic
open System.Net.Security
open System.IO
open System.Security.Cryptography.X509Certificates
open System.Threading
open System.Threading.Tasks

/// A frame that an HTTP/2 client sent: HEADERS or DATA.
type Http2Frame =
    {
        /// The number of the connection, from 1.
        Connection: int
        Kind: byte
        Flags: byte
        Stream: int
        Payload: byte array
    }

    member frame.IsHeaders = frame.Kind = 1uy
    member frame.EndsStream = frame.Flags &&& 1uy = 1uy

/// One connection of a bare HTTP/2 server.
type Http2PeerConnection(number: int, stream: Stream) =

    member _.Number = number

    member _.Send(kind: byte, flags: byte, id: int, payload: byte array) : Task =
        let length = payload.Length

        let frame =
            [|
                byte (length >>> 16)
                byte (length >>> 8)
                byte length
                kind
                flags
                byte (id >>> 24)
                byte (id >>> 16)
                byte (id >>> 8)
                byte id
                yield! payload
            |]

        stream.WriteAsync(frame, 0, frame.Length)

    /// HEADERS with END_HEADERS.
    member this.Headers(id: int, fields: (string * string) list, ended: bool) : Task =
        this.Send(1uy, (if ended then 5uy else 4uy), id, HeaderBlock.plain fields)

    member this.Data(id: int, content: byte array, ended: bool) : Task =
        this.Send(0uy, (if ended then 1uy else 0uy), id, content)

    member this.Reset(id: int, code: byte) : Task = this.Send(3uy, 0uy, id, [| 0uy; 0uy; 0uy; code |])

    member this.GoAway(last: int, code: byte) : Task =
        this.Send(7uy, 0uy, 0, [| 0uy; 0uy; byte (last >>> 8); byte last; 0uy; 0uy; 0uy; code |])

    /// Gives back to the client what a DATA frame took from its windows.
    member this.Grant(frame: Http2Frame) : Task =
        task {
            if frame.Kind = 0uy && frame.Payload.Length > 0 then
                let size = frame.Payload.Length
                let payload = [| 0uy; byte (size >>> 16); byte (size >>> 8); byte size |]
                do! this.Send(8uy, 0uy, 0, payload)
                do! this.Send(8uy, 0uy, frame.Stream, payload)
        }

    /// Ends the connection.
    member _.Close() : unit = raise (EndOfStreamException())

/// A bare HTTP/2 server, in plain text or over TLS, whose `handle` gets each HEADERS and DATA frame, one at a time for
/// each connection.
type Http2Peer
    (settings: byte array, certificate: X509Certificate2 option, handle: Http2PeerConnection -> Http2Frame -> Task) =
    let mutable connections = 0
    let mutable last: Http2PeerConnection option = None

    let readFrame (stream: Stream) =
        task {
            let head = Array.zeroCreate<byte> 9
            do! stream.ReadExactlyAsync(head.AsMemory())

            let payload =
                Array.zeroCreate<byte>((int head[0] <<< 16) ||| (int head[1] <<< 8) ||| int head[2])

            do! stream.ReadExactlyAsync(payload.AsMemory())

            let id =
                (int head[5] <<< 24)
                ||| (int head[6] <<< 16)
                ||| (int head[7] <<< 8)
                ||| int head[8]

            return head[3], head[4], id, payload
        }

    let serve (stream: Stream) =
        task {
            let number = Interlocked.Increment &connections
            let connection = Http2PeerConnection(number, stream)
            do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(24).AsMemory())
            do! connection.Send(4uy, 0uy, 0, settings)
            Volatile.Write(&last, Some connection)

            while true do
                let! kind, flags, id, payload = readFrame stream

                match kind with
                | 4uy when flags &&& 1uy = 0uy -> do! connection.Send(4uy, 1uy, 0, [||])
                | 6uy when flags &&& 1uy = 0uy -> do! connection.Send(6uy, 1uy, 0, payload)
                | 0uy
                | 1uy ->
                    do!
                        handle
                            connection
                            {
                                Connection = number
                                Kind = kind
                                Flags = flags
                                Stream = id
                                Payload = payload
                            }
                | _ -> ()
        }

    let peer =
        new RawPeer(fun stream ->
            task {
                match certificate with
                | None -> do! serve stream
                | Some certificate ->
                    use secure = new SslStream(stream)

                    do!
                        secure.AuthenticateAsServerAsync(
                            SslServerAuthenticationOptions(
                                ServerCertificate = certificate,
                                ApplicationProtocols = List [ SslApplicationProtocol.Http2 ]
                            )
                        )

                    do! serve secure
            })

    member _.Port = peer.Port
    /// Connections so far.
    member _.Connections = Volatile.Read &connections

    /// The connection that was opened last.
    member _.Last = Volatile.Read &last

    interface IDisposable with
        member _.Dispose() = (peer :> IDisposable).Dispose()
