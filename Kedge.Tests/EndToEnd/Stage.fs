/// One kedge with backends of every kind, shared by the tests that only send requests through it.
module Kedge.Tests.EndToEnd.Stage

open System.Net.Http
open System.Text
open System.Threading.Tasks
open Kedge.Tests.Harness

let alpha = Shared.make (fun () -> new HttpPeer "alpha")
let beta = Shared.make (fun () -> new HttpPeer "beta")
let echo = Shared.make (fun () -> new GrpcPeer "echo")
let otherEcho = Shared.make (fun () -> new GrpcPeer "other-echo")

let private resetting = Shared.make (fun () -> RawPeer.Resetting())

/// A port on which nothing listens.
let private refused = lazy Ports.free ()

let private pool () =
    let shared =
        [
            Json.backend "refused" refused.Value
            Json.backend "resetting" resetting.Value.Port
            """{ "name": "unresolvable", "host": { "dns_name": "no-such-host.invalid", "port": 80 } }"""
        ]

    Json.pool
        (Json.backend "alpha" alpha.Value.Port
         :: Json.backend "beta" beta.Value.Port
         :: shared)
        (Json.backend "echo" echo.Value.Port
         :: Json.backend "other_echo" otherEcho.Value.Port
         :: shared)

let private director () =
    Json.directorWithAdhoc
        [
            Json.httpRoute "alpha" "alpha.example"
            Json.httpRoute "beta" "beta.example"
            Json.httpRoute "refused" "refused.example"
            Json.httpRoute "resetting" "resetting.example"
            Json.httpRoute "unresolvable" "unresolvable.example"
            Json.httpRoute "ghost" "ghost.example"
            """{ "backend_name": "alpha", "host_matcher": "ports.example", "port_matcher": 8081 }"""
            """{ "backend_name": "beta", "host_matcher": "ports.example", "port_matcher": 443 }"""
            """{ "backend_name": "alpha", "host_matcher": "paths.example", "path_rules": ["/api/*", "/exact"] }"""
            """{ "backend_name": "beta", "host_matcher": "paths.example", "path_rules": ["/other/*"] }"""
            """{ "backend_name": "alpha", "host_matcher": "headers.example", "header_matcher": {"x-env": "prod"} }"""
            """{ "backend_name": "beta", "host_matcher": "headers.example", "header_matcher": {"x-env": "test"} }"""
            """{ "backend_name": "alpha", "host_matcher": "modes.example", "proxy_mode": "FORWARD_PROXY" }"""
            """{ "backend_name": "beta", "host_matcher": "modes.example", "proxy_mode": "REVERSE_PROXY" }"""
            """{ "backend_name": "alpha", "host_matcher": "order.example" }"""
            """{ "backend_name": "beta", "host_matcher": "order.example" }"""
        ]
        [
            """{ "backend_name": "echo", "authority_host_matcher": "echo.example" }"""
            Json.grpcRoute "refused" "refused.example"
            Json.grpcRoute "resetting" "resetting.example"
            Json.grpcRoute "unresolvable" "unresolvable.example"
            Json.grpcRoute "ghost" "ghost.example"
            """{ "backend_name": "echo", "authority_host_matcher": "metadata.example", "metadata_matcher": {"env": "prod"} }"""
            """{ "backend_name": "other_echo", "authority_host_matcher": "metadata.example" }"""
            """{ "backend_name": "echo", "authority_host_matcher": "service.example", "service_name_matcher": "kedge.test.*" }"""
            """{ "backend_name": "echo", "authority_matcher": "ports.example:9001" }"""
            """{ "backend_name": "other_echo", "authority_host_matcher": "ports.example", "authority_port_matcher": 9002 }"""
        ]
        [
            """{ "dns_name_matcher": "*.pod.test", "port": { "default": 1, "allowed": [9090] } }"""
            $$"""{ "dns_name_matcher": "127.0.0.1", "port": { "allowed_ranges": [{ "from": 1024, "to": 65535 }] } }"""
        ]

let kedge =
    Shared.make (fun () -> Kedge.Start(director (), pool (), [ "--adhoc_allow_loopback" ]).GetAwaiter().GetResult())

let private http1Client = lazy Clients.http1 kedge.Value.HttpsPort None
let private http2Client = lazy Clients.http2 kedge.Value.HttpsPort None
let http1 () = http1Client.Value
let http2 () = http2Client.Value
/// Both, with a name.
let httpClients () = [ "HTTP/1.1", http1 (); "HTTP/2", http2 () ]

/// Both ports that take gRPC, with a name.
let grpcPorts () = [ "gRPC port", kedge.Value.GrpcPort; "HTTPS port", kedge.Value.HttpsPort ]

/// A response with its whole body.
type Response =
    {
        Status: int
        Body: string
        Message: HttpResponseMessage
    }

    member response.Header(name) = Clients.header name response.Message

let send (client: HttpClient) (request: HttpRequestMessage) : Task<Response> =
    task {
        request.Version <- client.DefaultRequestVersion
        request.VersionPolicy <- client.DefaultVersionPolicy
        let! message = client.SendAsync request
        let! body = message.Content.ReadAsStringAsync()

        return
            {
                Status = int message.StatusCode
                Body = body
                Message = message
            }
    }

let get (client: HttpClient) (url: string) (headers: (string * string) list) : Task<Response> =
    let request = new HttpRequestMessage(HttpMethod.Get, url)

    for name, value in headers do
        request.Headers.TryAddWithoutValidation(name, value) |> ignore

    send client request

let post (client: HttpClient) (url: string) (body: string) : Task<Response> =
    send client (new HttpRequestMessage(HttpMethod.Post, url, Content = new StringContent(body, Encoding.UTF8)))
