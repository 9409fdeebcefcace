namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.Net
open System.Net.WebSockets
open System.Security.Cryptography
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Hosting.Server
open Microsoft.AspNetCore.Hosting.Server.Features
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging

/// A request as a backend got it.
type ReceivedRequest =
    {
        Method: string
        /// The request target as it stood on the wire.
        RawTarget: string
        Protocol: string
        /// As sent, one entry for each line; HTTP/2's `:authority` is `Host`.
        Headers: (string * string) list
        /// Counted for peers that read the body themselves only in `BodyLength = -1`.
        BodyLength: int64
        /// Lower-case hexadecimal SHA-256.
        BodyHash: string
        ConnectionId: string
        ClientCertificate: string
    }

    /// All values of a header.
    member request.Values(name: string) =
        request.Headers
        |> List.filter (fun (n, _) -> String.Equals(n, name, StringComparison.OrdinalIgnoreCase))
        |> List.map snd

    /// The only value of a header, or the empty text.
    member request.Header(name: string) = String.Join(", ", request.Values name)

/// The ports and lifetime of an in-process ASP.NET Core server on 127.0.0.1.
type PeerHost(configure: WebApplicationBuilder -> unit, protocols: HttpProtocols, tls: Identity option, at: IPEndPoint)
    =
    let start (wire: WebApplication -> unit) =
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore

        builder.WebHost.ConfigureKestrel(fun kestrel ->
            kestrel.AllowHostHeaderOverride <- true
            kestrel.Limits.MaxRequestBodySize <- Nullable()
            kestrel.Limits.MinRequestBodyDataRate <- null
            kestrel.Limits.MinResponseDataRate <- null

            kestrel.Listen(
                at,
                fun listen ->
                    listen.Protocols <- protocols

                    match tls with
                    | None -> ()
                    | Some identity ->
                        listen.UseHttps(fun https ->
                            https.ServerCertificate <- identity.Certificate

                            https.ClientCertificateMode <-
                                Microsoft.AspNetCore.Server.Kestrel.Https.ClientCertificateMode.AllowCertificate

                            https.AllowAnyClientCertificate())
                        |> ignore
            ))
        |> ignore

        builder.WebHost.UseKestrelHttpsConfiguration() |> ignore
        configure builder
        let app = builder.Build()
        wire app
        app.StartAsync().GetAwaiter().GetResult()
        app

    member _.Start(wire) : WebApplication = start wire

    /// The port that a started server listens on.
    static member PortOf(app: WebApplication) : int =
        let addresses =
            app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()

        Uri(Seq.head (nonNull addresses).Addresses).Port

    /// Ends it; streams that are still open are cut.
    static member Stop(app: WebApplication) =
        try
            use limit = new CancellationTokenSource(TimeSpan.FromMilliseconds 200.0)
            app.StopAsync(limit.Token).GetAwaiter().GetResult()
        with :? OperationCanceledException ->
            ()

        (app :> IDisposable).Dispose()

/// An HTTP backend that records what it gets. Unless a path was given a behaviour of its own, it reads the whole body
/// and answers 200 with its name as the body.
type HttpPeer(name: string, protocols: HttpProtocols, tls: Identity option, at: IPEndPoint) =
    let received = ConcurrentQueue<ReceivedRequest>()
    let behaviours = ConcurrentDictionary<string, HttpContext -> Task>()

    let record (context: HttpContext) length hash =
        received.Enqueue
            {
                Method = context.Request.Method
                RawTarget = (nonNull (context.Features.Get<IHttpRequestFeature>())).RawTarget
                Protocol = context.Request.Protocol
                Headers =
                    [
                        for header in context.Request.Headers do
                            for value in header.Value do
                                header.Key, string value
                    ]
                BodyLength = length
                BodyHash = hash
                ConnectionId = context.Connection.Id
                ClientCertificate =
                    match context.Connection.ClientCertificate with
                    | null -> ""
                    | certificate -> certificate.Subject
            }

    let answer (context: HttpContext) : Task =
        task {
            use hash = IncrementalHash.CreateHash HashAlgorithmName.SHA256
            let buffer = Array.zeroCreate<byte> 65536
            let mutable length = 0L
            let mutable reading = true

            while reading do
                let! count = context.Request.Body.ReadAsync(buffer.AsMemory())

                if count = 0 then
                    reading <- false
                else
                    hash.AppendData(buffer.AsSpan(0, count))
                    length <- length + int64 count

            record context length (Convert.ToHexStringLower(hash.GetHashAndReset()))
            context.Response.Headers["X-Peer"] <- name
            context.Response.ContentType <- "text/plain"
            do! context.Response.WriteAsync name
        }

    let handle (context: HttpContext) : Task =
        match behaviours.TryGetValue(string context.Request.Path) with
        | true, behaviour ->
            record context -1L ""
            behaviour context
        | _ -> answer context

    let app =
        PeerHost(ignore, protocols, tls, at)
            .Start(fun app ->
                app.UseWebSockets() |> ignore
                app.Run(RequestDelegate handle))

    let mutable disposed = 0

    /// On a free port of 127.0.0.1.
    new(name, protocols, tls) = new HttpPeer(name, protocols, tls, IPEndPoint(IPAddress.Loopback, 0))

    /// Clear text, HTTP/1.1, on a free port of 127.0.0.1.
    new(name) = new HttpPeer(name, HttpProtocols.Http1, None)

    member _.Name = name
    member _.Port = PeerHost.PortOf app
    /// In the order of their arrival (for the default behaviour: of the end of their bodies).
    member _.Received = received.ToArray()

    /// Requests for this path, whatever their query.
    member _.ReceivedOn(path: string) = received.ToArray() |> Array.filter (fun r -> (r.RawTarget.Split '?')[0] = path)

    /// The only request for this path.
    member this.One(path: string) = this.ReceivedOn path |> Array.exactlyOne

    /// Gives a path a behaviour of its own. The request is recorded before it runs, without its body.
    member _.On(path: string, behaviour: HttpContext -> Task) = behaviours[path] <- behaviour

    /// A WebSocket that sends back each message, and closes when asked to.
    member this.OnWebSocketEcho(path: string) =
        this.On(
            path,
            fun context ->
                task {
                    use! socket = context.WebSockets.AcceptWebSocketAsync()
                    let buffer = Array.zeroCreate<byte> 65536
                    let mutable isOpen = true

                    while isOpen do
                        let! message = socket.ReceiveAsync(ArraySegment buffer, context.RequestAborted)

                        if message.MessageType = WebSocketMessageType.Close then
                            do! socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "bye", context.RequestAborted)

                            isOpen <- false
                        else
                            do!
                                socket.SendAsync(
                                    ArraySegment(buffer, 0, message.Count),
                                    message.MessageType,
                                    message.EndOfMessage,
                                    context.RequestAborted
                                )
                }
        )

    interface IDisposable with
        member _.Dispose() =
            if Interlocked.Exchange(&disposed, 1) = 0 then
                PeerHost.Stop app
