namespace Kedge.Tests.Harness

open System
open System.IO
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Security.Cryptography.X509Certificates
open System.Text
open System.Threading
open System.Threading.Tasks

/// A backend that speaks raw bytes: for each connection it runs the script, then closes.
type RawPeer(script: NetworkStream -> Task) =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    do listener.Start()
    let mutable accepted = 0

    let serve (client: TcpClient) : Task =
        task {
            use client = client

            try
                do! script (client.GetStream())
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException -> ()
        }

    let accept: Task =
        task {
            try
                while true do
                    let! client = listener.AcceptTcpClientAsync()
                    Interlocked.Increment &accepted |> ignore
                    serve client |> ignore
            with
            | :? SocketException
            // Stopped: disposed, or not listening any more when the next accept begins.
            | :? InvalidOperationException -> ()
        }

    /// Reads a request's head; empty when the connection ended before it was complete.
    static member ReadHead(stream: Stream) : Task<string> =
        task {
            let text = StringBuilder()
            let one = Array.zeroCreate<byte> 1
            let mutable reading = true

            while reading do
                let! count = stream.ReadAsync(one.AsMemory())

                if count = 0 then
                    text.Clear() |> ignore
                    reading <- false
                else
                    text.Append(char one[0]) |> ignore

                    reading <-
                        not (
                            text.Length >= 4
                            && text.ToString(text.Length - 4, 4).Equals("\r\n\r\n", StringComparison.Ordinal)
                        )

            return text.ToString()
        }

    /// All that comes until the other side ends the connection, in order or not.
    static member ReadToEnd(stream: Stream) : Task<string> =
        task {
            let text = StringBuilder()
            let buffer = Array.zeroCreate<byte> 16384
            let mutable reading = true

            while reading do
                try
                    let! count = stream.ReadAsync(buffer.AsMemory())
                    reading <- count > 0
                    text.Append(Encoding.Latin1.GetString(buffer, 0, count)) |> ignore
                with :? IOException ->
                    reading <- false

            return text.ToString()
        }

    static member Write(stream: Stream, text: string) : Task = stream.WriteAsync(Encoding.Latin1.GetBytes text).AsTask()

    /// Answers each connection's first request with these bytes, then closes.
    static member Answering(text: string) =
        new RawPeer(fun stream ->
            task {
                let! _ = RawPeer.ReadHead stream
                do! RawPeer.Write(stream, text)
            })

    /// Reads a request and breaks the connection off with a reset.
    static member Resetting() =
        new RawPeer(fun stream ->
            task {
                let! _ = RawPeer.ReadHead stream
                stream.Socket.LingerState <- LingerOption(true, 0)
                stream.Socket.Close()
            })

    /// Takes the request and never answers; ends with the connection.
    static member Hanging() =
        new RawPeer(fun stream ->
            task {
                let buffer = Array.zeroCreate<byte> 4096
                let mutable reading = true

                while reading do
                    let! count = stream.ReadAsync(buffer.AsMemory())
                    reading <- count > 0
            })

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port
    /// Connections so far.
    member _.Accepted = Volatile.Read &accepted

    interface IDisposable with
        member _.Dispose() =
            listener.Stop()
            accept.Wait()

/// A TLS client that sends raw bytes.
type RawClient private (client: TcpClient, stream: SslStream) =

    /// Offers the protocols by ALPN (`http/1.1`, `h2`); none = no ALPN.
    static member Connect(port: int, certificate: X509Certificate2 option, protocols: SslApplicationProtocol list) =
        task {
            let client = new TcpClient()
            do! client.ConnectAsync(IPAddress.Loopback, port)
            let stream = new SslStream(client.GetStream())

            let options =
                SslClientAuthenticationOptions(
                    TargetHost = "localhost",
                    ApplicationProtocols = Collections.Generic.List protocols,
                    RemoteCertificateValidationCallback = (fun _ _ _ _ -> true)
                )

            match certificate with
            | Some own -> options.ClientCertificates <- X509CertificateCollection([| own :> X509Certificate |])
            | None -> ()

            do! stream.AuthenticateAsClientAsync options
            return new RawClient(client, stream)
        }

    static member Connect(port: int) = RawClient.Connect(port, None, [ SslApplicationProtocol.Http11 ])

    member _.Stream = stream
    /// The TCP connection below TLS.
    member _.Socket = client.Client
    member _.Write(text: string) = RawPeer.Write(stream, text)

    /// All that comes until the other side closes, which it must.
    member _.ReadToEnd() : Task<string> = within "the end of a connection" (RawPeer.ReadToEnd stream)

    interface IDisposable with
        member _.Dispose() =
            stream.Dispose()
            client.Dispose()
