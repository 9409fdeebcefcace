namespace Kedge.Tests.Kubernetes

open System
open System.Collections.Concurrent
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.Harness

/// A TCP relay on a port of its own that can freeze, as a server does that is stopped: connections are accepted, and
/// stay open, but nothing passes any more.
type FrozenRoad(target: int) =
    let listener = new TcpListener(IPAddress.Loopback, Ports.free ())
    let stop = new CancellationTokenSource()
    let sockets = ConcurrentBag<Socket>()
    let mutable isFrozen = false

    let pass (from: Socket) (onward: Socket) : Task =
        task {
            let buffer = Array.zeroCreate<byte> 16384

            try
                try
                    let mutable going = true

                    while going do
                        let! count = from.ReceiveAsync(buffer.AsMemory(), stop.Token)

                        while Volatile.Read &isFrozen do
                            do! Task.Delay(20, stop.Token)

                        if count = 0 then
                            going <- false
                        else
                            let! _ = onward.SendAsync(buffer.AsMemory(0, count), SocketFlags.None, stop.Token)
                            ()
                with
                | :? SocketException
                | :? ObjectDisposedException
                | :? OperationCanceledException -> ()
            finally
                from.Dispose()
                onward.Dispose()
        }

    let serve () : Task =
        task {
            try
                while true do
                    let! caller = listener.AcceptSocketAsync stop.Token

                    let server =
                        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                    sockets.Add caller
                    sockets.Add server
                    do! server.ConnectAsync(IPEndPoint(IPAddress.Loopback, target), stop.Token)
                    pass caller server |> ignore
                    pass server caller |> ignore
            with
            | :? SocketException
            | :? OperationCanceledException -> ()
        }

    do
        listener.Start()
        serve () |> ignore

    member _.Url = Uri $"https://127.0.0.1:{(listener.LocalEndpoint :?> IPEndPoint).Port}"
    member _.Freeze() = Volatile.Write(&isFrozen, true)
    member _.Thaw() = Volatile.Write(&isFrozen, false)

    interface IDisposable with
        member _.Dispose() =
            stop.Cancel()
            listener.Stop()

            for socket in sockets do
                socket.Dispose()
