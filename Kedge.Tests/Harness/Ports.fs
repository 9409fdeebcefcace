namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.Net
open System.Net.Sockets

/// Ports for programs that must be told one.
[<RequireQualifiedAccess>]
module Ports =
    let private handedOut = ConcurrentDictionary<int, unit>()

    let private isFree (port: int) =
        use socket =
            new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

        try
            socket.Bind(IPEndPoint(IPAddress.Any, port))
            true
        with :? SocketException ->
            false

    /// A port that nothing listens on and that was not handed out before. It lies below the range from which the kernel
    /// takes ports for outgoing connections, so that only another such search can take it away.
    let rec free () : int =
        let port = Random.Shared.Next(12000, 32000)

        if handedOut.TryAdd(port, ()) && isFree port then
            port
        else
            free ()
