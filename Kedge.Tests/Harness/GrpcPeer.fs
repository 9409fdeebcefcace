namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.Net
open System.Threading
open System.Threading.Tasks
open Grpc.Core
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.Extensions.DependencyInjection

/// A call as a gRPC backend got it.
type ReceivedCall =
    {
        Method: string
        Authority: string
        Metadata: (string * string) list
        Deadline: DateTime
        /// Completes when the call is cancelled or its deadline passes.
        Cancelled: Task
    }

/// Sends back what it gets. Each reply says which backend it is from, and what authority and metadata that backend saw.
/// Response headers carry `x-peer`; trailers carry `x-trailer` and the binary `x-trailer-bin`.
type EchoService(name: string, calls: ConcurrentQueue<ReceivedCall>) =
    inherit Echo.EchoBase()

    let enter (context: ServerCallContext) =
        let cancelled =
            TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

        context.CancellationToken.Register(fun () -> cancelled.TrySetResult() |> ignore)
        |> ignore

        calls.Enqueue
            {
                Method = context.Method
                Authority = context.Host
                Metadata =
                    [
                        for entry in context.RequestHeaders do
                            entry.Key,
                            (if entry.IsBinary then
                                 Convert.ToBase64String entry.ValueBytes
                             else
                                 entry.Value)
                    ]
                Deadline = context.Deadline
                Cancelled = cancelled.Task
            }

        context.ResponseTrailers.Add("x-trailer", name)
        context.ResponseTrailers.Add("x-trailer-bin", [| 0uy; 1uy; 255uy |])
        let headers = Metadata()
        headers.Add("x-peer", name)
        context.WriteResponseHeadersAsync headers

    let reply (request: EchoRequest) (context: ServerCallContext) =
        let reply =
            EchoReply(Text = request.Text, Payload = request.Payload, Authority = context.Host, Backend = name)

        for entry in context.RequestHeaders do
            if not entry.IsBinary then
                reply.Metadata[entry.Key] <- entry.Value

        reply

    /// Waits and fails as the request says.
    let obey (request: EchoRequest) (context: ServerCallContext) : Task =
        task {
            if request.DelayMs > 0u then
                do! Task.Delay(int request.DelayMs, context.CancellationToken)

            if request.FailWith <> 0u then
                raise (RpcException(Status(enum<StatusCode>(int request.FailWith), request.Text)))
        }

    override _.Unary(request, context) =
        task {
            // A failure before the headers is a trailers-only answer.
            if request.FailWith <> 0u then
                do! obey request context

            do! enter context
            do! obey request context
            return reply request context
        }

    override _.ClientStream(requests, context) =
        task {
            do! enter context
            let texts = ResizeArray<string>()
            let mutable last = EchoRequest()

            while! requests.MoveNext context.CancellationToken do
                last <- requests.Current
                texts.Add last.Text
                do! obey last context

            return reply (EchoRequest(Text = String.Join(",", texts), Payload = last.Payload)) context
        }

    override _.ServerStream(request, replies, context) =
        task {
            do! enter context

            for number in 1 .. int request.Replies do
                if request.DelayMs > 0u then
                    do! Task.Delay(int request.DelayMs, context.CancellationToken)

                let next = reply request context
                next.Text <- $"{request.Text}{number}"
                do! replies.WriteAsync(next, context.CancellationToken)

            if request.FailWith <> 0u then
                do! obey request context
        }

    override _.Bidi(requests, replies, context) =
        task {
            do! enter context

            while! requests.MoveNext context.CancellationToken do
                do! obey requests.Current context
                do! replies.WriteAsync(reply requests.Current context, context.CancellationToken)
        }

/// A gRPC backend: `EchoService` over h2c, or over TLS when given an identity.
type GrpcPeer(name: string, tls: Identity option, at: IPEndPoint) =
    let calls = ConcurrentQueue<ReceivedCall>()

    let app =
        PeerHost(
            (fun builder ->
                builder.Services.AddGrpc(fun options ->
                    options.MaxReceiveMessageSize <- Nullable()
                    options.MaxSendMessageSize <- Nullable())
                |> ignore

                builder.Services.AddSingleton(EchoService(name, calls)) |> ignore),
            HttpProtocols.Http2,
            tls,
            at
        )
            .Start(fun app -> app.MapGrpcService<EchoService>() |> ignore)

    let mutable disposed = 0

    /// On a free port of 127.0.0.1.
    new(name, tls) = new GrpcPeer(name, tls, IPEndPoint(IPAddress.Loopback, 0))

    /// h2c on a free port of 127.0.0.1.
    new(name) = new GrpcPeer(name, None)

    member _.Name = name
    member _.Port = PeerHost.PortOf app
    member _.Calls = calls.ToArray()

    /// The only call whose metadata has this entry.
    member _.CallWith(key: string, value: string) =
        calls.ToArray()
        |> Array.filter (fun call -> List.contains (key, value) call.Metadata)
        |> Array.exactlyOne

    interface IDisposable with
        member _.Dispose() =
            if Interlocked.Exchange(&disposed, 1) = 0 then
                PeerHost.Stop app
