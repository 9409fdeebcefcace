namespace Kedge.Tests.Wire

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Security.Cryptography
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.Harness

/// Plain sockets on the other side of connections on event loops.
[<RequireQualifiedAccess>]
module internal Plain =

    let listen (backlog: int) : Socket =
        let socket =
            new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

        socket.Bind(IPEndPoint(IPAddress.Loopback, 0))
        socket.Listen backlog
        socket

    let address (socket: Socket) : IPEndPoint =
        match socket.LocalEndPoint with
        | :? IPEndPoint as address -> address
        | other -> failwithf "no address: %O" other

    let connect (address: EndPoint) : Task<Socket> =
        task {
            let socket =
                new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

            socket.NoDelay <- true
            do! socket.ConnectAsync address
            return socket
        }

    /// Closes with a reset.
    let reset (socket: Socket) =
        socket.LingerState <- LingerOption(true, 0)
        socket.Close()

    /// Receives so many bytes.
    let receive (socket: Socket) (count: int) : Task<byte array> =
        task {
            let bytes = Array.zeroCreate<byte> count
            let mutable have = 0

            while have < count do
                use limit = new CancellationTokenSource(patience)
                let! more = socket.ReceiveAsync(bytes.AsMemory(have), SocketFlags.None, limit.Token)

                if more = 0 then
                    raise (EndOfStreamException $"after {have} of {count} bytes")

                have <- have + more

            return bytes
        }

    /// Receives to the end.
    let receiveAll (socket: Socket) : Task<byte array> =
        task {
            let all = new MemoryStream()
            let bytes = Array.zeroCreate<byte> 65536
            let mutable reading = true

            while reading do
                use limit = new CancellationTokenSource(patience)
                let! more = socket.ReceiveAsync(bytes.AsMemory(), SocketFlags.None, limit.Token)
                all.Write(bytes, 0, more)
                reading <- more > 0

            return all.ToArray()
        }

    let send (socket: Socket) (bytes: byte array) : Task<unit> =
        task {
            let mutable sent = 0

            while sent < bytes.Length do
                let! more = socket.SendAsync(bytes.AsMemory sent, SocketFlags.None)
                sent <- sent + more
        }

    let noise (count: int) : byte array = RandomNumberGenerator.GetBytes count
