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

    let rec private between (low: int) (high: int) : int =
        let port = Random.Shared.Next(low, high)

        if handedOut.TryAdd(port, ()) && isFree port then
            port
        else
            between low high

    /// A port that nothing listens on and that was not handed out before. It lies below the range from which the kernel
    /// takes ports for outgoing connections, so that only another such search can take it away.
    let free () : int = between 12000 32000

    /// The same, below 10,000, for rules about ports.
    let freeLow () : int = between 2000 10000
