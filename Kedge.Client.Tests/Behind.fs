/// One kedge with backends behind it, for the tests of the library and of winch.
module Kedge.Client.Tests.Behind

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes
open Microsoft.AspNetCore.Server.Kestrel.Core

/// The token that the kedge demands.
let proxySecret = "the-proxy-token-of-the-tests"

/// The token that services demand.
let backendSecret = "the-backend-token-of-the-tests"

let backend = Shared.make (fun () -> new HttpPeer "behind")
let calls = Shared.make (fun () -> new GrpcPeer "behind-calls")

/// A double of a kedge, or of a service in TLS: it answers everything, and its connections can be counted.
let double (protocols: HttpProtocols) = new HttpPeer("double", protocols, Some Certificates.server.Value)

let connections (peer: HttpPeer) = peer.Received |> Array.distinctBy _.ConnectionId |> Array.length

/// A service in TLS, for tunnels through the kedge.
let tlsService =
    Shared.make (fun () -> new HttpPeer("tls-behind", HttpProtocols.Http1AndHttp2, Some Certificates.server.Value))

/// The API server of a cluster behind the kedge. Its objects are those that a test puts there.
let apiServer =
    Shared.make (fun () ->
        let server =
            new ApiServerDouble(Certificates.authority.Value.Server(), Token = backendSecret)

        server.Start()
        server)

/// A kedge that takes every host and demands a token; an ad-hoc rule allows tunnels to the service in TLS.
let kedge =
    Shared.make (fun () ->
        Secrets.add proxySecret
        Secrets.add backendSecret
        backend.Value.OnWebSocketEcho "/ws"

        let api =
            $$"""{ "name": "api", "security": { "insecure_skip_verify": true },
                   "host": { "dns_name": "127.0.0.1", "port": {{apiServer.Value.Port}} } }"""

        (Kedge.Start(
            Json.directorWithAdhoc
                [
                    """{ "backend_name": "gone", "host_matcher": "gone.prod.test" }"""
                    """{ "backend_name": "api", "host_matcher": "api.prod.test" }"""
                    """{ "backend_name": "behind", "proxy_mode": "REVERSE_PROXY" }"""
                ]
                [ """{ "backend_name": "calls", "service_name_matcher": "kedge.test.*" }""" ]
                [
                    $$"""{ "dns_name_matcher": "tls.tunnel.test",
                           "dns_name_replace": { "pattern": "tls.tunnel.test", "substitution": "localhost" },
                           "port": { "default": {{tlsService.Value.Port}}, "allowed": [ {{tlsService.Value.Port}} ] } }"""
                ],
            Json.pool
                [
                    Json.backend "behind" backend.Value.Port
                    Json.backend "gone" (Ports.free ())
                    api
                ]
                [ Json.backend "calls" calls.Value.Port ],
            [
                $"--unsafe_bearer_token_proxy_auth={proxySecret}"
                "--http_connect_enabled"
                "--adhoc_allow_loopback"
            ]
        ))
            .GetAwaiter()
            .GetResult())

/// Calls every host at one place of this machine, and first sends and reads what `greet` does.
let handlerAt (place: EndPoint) (greet: SocketsHttpConnectionContext -> Stream -> Task) : SocketsHttpHandler =
    let connect (context: SocketsHttpConnectionContext) (cancel: CancellationToken) =
        ValueTask<Stream>(
            task {
                let kind =
                    if place.AddressFamily = AddressFamily.Unix then
                        ProtocolType.Unspecified
                    else
                        ProtocolType.Tcp

                let socket = new Socket(place.AddressFamily, SocketType.Stream, kind)
                do! socket.ConnectAsync(place, cancel)
                let stream = new NetworkStream(socket, true)
                do! greet context stream
                return stream :> Stream
            }
        )

    new SocketsHttpHandler(UseProxy = false, ConnectCallback = Func<_, _, _> connect)

/// Calls every host at a port of this machine.
let handlerOn (port: int) : SocketsHttpHandler =
    handlerAt (IPEndPoint(IPAddress.Loopback, port)) (fun _ _ -> Task.CompletedTask)
