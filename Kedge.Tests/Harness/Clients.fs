namespace Kedge.Tests.Harness

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.Security
open System.Net.Sockets
open System.Security.Cryptography.X509Certificates
open System.Threading.Tasks
open Grpc.Net.Client

/// An HTTP body that is written step by step by the test.
type PushContent(write: Stream -> Task) =
    inherit HttpContent()
    override _.SerializeToStreamAsync(stream, _) = write stream

    override _.TryComputeLength(length) =
        length <- 0L
        false

/// Clients that connect to a port of this machine whatever host and port the URL names, and trust the tests' CA.
[<RequireQualifiedAccess>]
module Clients =

    let private trusts (certificate: X509Certificate | null) =
        match certificate with
        | :? X509Certificate2 as presented -> Certificates.authority.Value.Issued presented
        | _ -> false

    /// Dials `port` on 127.0.0.1. The server's certificate must be of the tests' CA; its name is not compared, because the
    /// hosts in the tests' URLs are those of routes.
    let handler (port: int) (identity: Identity option) : SocketsHttpHandler =
        let handler =
            new SocketsHttpHandler(
                UseProxy = false,
                AllowAutoRedirect = false,
                UseCookies = false,
                AutomaticDecompression = DecompressionMethods.None,
                EnableMultipleHttp2Connections = true
            )

        handler.ConnectCallback <-
            fun _ cancellation ->
                ValueTask<Stream>(
                    task {
                        let socket =
                            new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

                        try
                            do! socket.ConnectAsync(IPEndPoint(IPAddress.Loopback, port), cancellation)
                            return new NetworkStream(socket, true) :> Stream
                        with _ ->
                            socket.Dispose()
                            return! Task.FromException<Stream>(HttpRequestException $"cannot connect to port {port}")
                    }
                )

        handler.SslOptions.RemoteCertificateValidationCallback <- fun _ certificate _ _ -> trusts certificate

        match identity with
        | None -> ()
        | Some own ->
            handler.SslOptions.ClientCertificates <- X509CertificateCollection([| own.Certificate :> X509Certificate |])

        handler

    let private client (version: Version) (port: int) (identity: Identity option) : HttpClient =
        new HttpClient(
            handler port identity,
            DefaultRequestVersion = version,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Timeout = patience
        )

    /// HTTP/1.1 over TLS to that port.
    let http1 port identity = client HttpVersion.Version11 port identity
    /// HTTP/2 over TLS to that port.
    let http2 port identity = client HttpVersion.Version20 port identity

    /// A gRPC channel to that port whose calls carry this authority (`host` or `host:port`).
    let grpc (port: int) (identity: Identity option) (authority: string) : GrpcChannel =
        GrpcChannel.ForAddress(
            $"https://{authority}",
            GrpcChannelOptions(
                HttpHandler = handler port identity,
                DisposeHttpClient = true,
                MaxReceiveMessageSize = Nullable(),
                MaxSendMessageSize = Nullable()
            )
        )

    /// A body with its length, or in chunks.
    let body (chunked: bool) (bytes: byte array) : HttpContent =
        if chunked then
            new PushContent(fun stream -> stream.WriteAsync(bytes, 0, bytes.Length))
        else
            new ByteArrayContent(bytes)

    /// A gRPC request to this URL whose only message is empty, for clients that are no gRPC clients.
    let emptyCall (url: string) : HttpRequestMessage =
        let content = new ByteArrayContent(Array.zeroCreate<byte> 5)

        content.Headers.TryAddWithoutValidation("Content-Type", "application/grpc")
        |> ignore

        new HttpRequestMessage(
            HttpMethod.Post,
            url,
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content
        )

    /// A header of a response or of its content; the empty text when absent.
    let header (name: string) (response: HttpResponseMessage) : string =
        match response.Headers.TryGetValues name with
        | true, values -> String.Join(", ", nonNull values)
        | _ ->
            match response.Content.Headers.TryGetValues name with
            | true, values -> String.Join(", ", nonNull values)
            | _ -> ""
