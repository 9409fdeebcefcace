/// Backends that answer as a case of the hostile tables says while they are armed, and soundly otherwise.
module Kedge.Tests.EndToEnd.HostileBackendPeer

open System
open System.Buffers.Binary
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.EndToEnd.HostileBackendTable
open Kedge.Tests.Harness

/// What a sound answer has.
[<Literal>]
let Fine = "fine"

type private Stop() =
    inherit Exception()

/// Where the client's frames are read, one by one.
type private Frames(stream: Stream) =
    member _.Read() =
        task {
            let head = Array.zeroCreate<byte> 9
            do! stream.ReadExactlyAsync(head.AsMemory())
            let length = (int head[0] <<< 16) + (int head[1] <<< 8) + int head[2]
            let payload = Array.zeroCreate<byte> length
            do! stream.ReadExactlyAsync(payload.AsMemory())
            return head[3], head[4], int (BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(head, 5, 4))), payload
        }

/// A backend over HTTP/1.1 or HTTP/2, in clear text or, with an identity, over TLS.
type HostilePeer(isHttp2: bool, isGrpc: bool, identity: Identity option) =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    do listener.Start 512
    let mutable armed: BackendCase option = None
    let open' = ConcurrentDictionary<TcpClient, unit>()

    let write (stream: Stream) (bytes: byte array) : Task = stream.WriteAsync(bytes.AsMemory()).AsTask()

    let drain (stream: Stream) =
        task {
            let buffer = Array.zeroCreate<byte> 65536
            let mutable reading = true

            while reading do
                let! count = stream.ReadAsync(buffer.AsMemory())
                reading <- count > 0
        }

    let finish (client: TcpClient) (stream: Stream) (how: End) =
        task {
            match how with
            | Keep -> ()
            | Close ->
                match stream with
                | :? SslStream as tls -> do! tls.ShutdownAsync()
                | _ -> client.Client.Shutdown SocketShutdown.Send

                // Closing a socket with unread bytes would reset the connection.
                do! (drain stream).WaitAsync(TimeSpan.FromSeconds 5.0)
                raise (Stop())
            | Abort ->
                client.Client.LingerState <- LingerOption(true, 0)
                client.Client.Close()
                raise (Stop())
            | Hang ->
                do! drain stream
                raise (Stop())
        }

    let perform (stream: Stream) (acts: Act list) (own: int) =
        task {
            for act in acts do
                match act with
                | Send bytes -> do! write stream (bytes own)
                | Pause time -> do! Task.Delay time
        }

    let serveHttp1 (client: TcpClient) (stream: Stream) : Task =
        task {
            while true do
                let! head = RawPeer.ReadHead stream

                if head = "" then
                    raise (Stop())

                let length =
                    let found = Regex.Match(head, @"(?i)\r\ncontent-length: (\d+)\r\n")
                    if found.Success then int found.Groups[1].Value else 0

                let readBody () =
                    task {
                        let body = Array.zeroCreate<byte> length
                        do! stream.ReadExactlyAsync(body.AsMemory())
                    }

                let sound () = write stream ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"B)

                match Volatile.Read &armed with
                | None ->
                    do! readBody ()
                    do! sound ()
                | Some case ->
                    if case.When <> Early then
                        do! readBody ()

                    do! perform stream case.Acts 0

                    if case.When = Early && case.End = Keep then
                        do! readBody ()

                    do! finish client stream case.End
        }

    let sound (own: int) =
        if isGrpc then
            Array.concat
                [
                    frame 1 4 own (HeaderBlock.plain [ ":status", "200"; "content-type", "application/grpc" ])
                    frame 1 5 own (HeaderBlock.plain [ "grpc-status", "0" ])
                ]
        else
            Array.concat
                [
                    frame 1 4 own (HeaderBlock.plain [ ":status", "200" ])
                    frame 0 1 own "fine"B
                ]

    let serveHttp2 (client: TcpClient) (stream: Stream) : Task =
        task {
            let frames = Frames stream
            do! stream.ReadExactlyAsync(Array.zeroCreate<byte>(24).AsMemory())

            match Volatile.Read &armed with
            | Some case when case.When = AtOnce ->
                do! perform stream case.Acts 1
                do! finish client stream case.End
            | _ -> do! write stream (frame 4 0 0 [||])

            let answer (own: int) =
                task {
                    match Volatile.Read &armed with
                    | None -> do! write stream (sound own)
                    | Some case ->
                        if case.When = AtOnce then
                            do! write stream (sound own)

                        if case.When <> AtOnce then
                            do! perform stream case.Acts own

                            // Only this stream hangs: the connection serves others.
                            if case.End <> Hang then
                                do! finish client stream case.End
                }

            let answered = Collections.Generic.HashSet<int>()

            while true do
                let! kind, flags, id, payload = frames.Read()
                let isEnd = flags &&& 1uy = 1uy

                match kind with
                | 0uy
                | 1uy ->
                    if kind = 0uy && payload.Length > 0 then
                        let increment =
                            frame 8 0 0 [| 0uy; 0uy; byte (payload.Length >>> 8); byte payload.Length |]

                        do! write stream increment

                        if not isEnd then
                            increment[8] <- byte id
                            increment[7] <- byte (id >>> 8)
                            do! write stream increment

                    let isEarly =
                        match Volatile.Read &armed with
                        | Some case -> case.When = Early
                        | None -> false

                    if (isEnd || isEarly) && answered.Add id then
                        do! answer id
                | 4uy when flags = 0uy -> do! write stream (frame 4 1 0 [||])
                | 6uy when flags = 0uy -> do! write stream (frame 6 1 0 payload)
                | _ -> ()
        }

    let serve (client: TcpClient) : Task =
        task {
            open'[client] <- ()
            use client = client

            try
                try
                    client.NoDelay <- true

                    let! stream =
                        task {
                            match identity with
                            | None -> return client.GetStream() :> Stream
                            | Some own ->
                                let tls = new SslStream(client.GetStream())

                                let options =
                                    SslServerAuthenticationOptions(
                                        ServerCertificate = own.Certificate,
                                        ApplicationProtocols = Collections.Generic.List [ SslApplicationProtocol.Http2 ]
                                    )

                                do! tls.AuthenticateAsServerAsync options
                                return tls :> Stream
                        }

                    do! (if isHttp2 then serveHttp2 else serveHttp1) client stream
                with
                | :? Stop
                | :? IOException
                | :? SocketException
                | :? TimeoutException
                | :? ObjectDisposedException
                | :? InvalidOperationException
                | :? Security.Authentication.AuthenticationException -> ()
            finally
                open'.TryRemove client |> ignore
        }

    let accept: Task =
        task {
            try
                while true do
                    let! client = listener.AcceptTcpClientAsync()
                    serve client |> ignore
            with
            | :? SocketException
            | :? ObjectDisposedException
            // Stopped before a connection is waited for.
            | :? InvalidOperationException -> ()
        }

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port

    /// From now on, connections and requests get this.
    member _.Arm(case: BackendCase) = Volatile.Write(&armed, Some case)

    /// From now on, requests get a sound answer.
    member _.Disarm() = Volatile.Write(&armed, None)

    /// Closes the connections that are open.
    member _.Drop() =
        for client in open'.Keys do
            client.Dispose()

    interface IDisposable with
        member this.Dispose() =
            listener.Stop()
            this.Drop()
            accept.Wait()
