/// One kedge with backends, and mapper files that lead to it.
module Kedge.Client.Tests.Winch.Stage

open System
open System.Diagnostics
open System.Threading.Tasks
open Kedge.Tests.Harness

let proxySecret = "the-proxy-token-of-winch-tests"
let backendSecret = "the-backend-token-of-winch-tests"

let backend = Shared.make (fun () -> new HttpPeer "behind")
let calls = Shared.make (fun () -> new GrpcPeer "behind-calls")

/// A service in TLS, for tunnels through the kedge.
let tlsService =
    Shared.make (fun () ->
        new HttpPeer(
            "tls-behind",
            Microsoft.AspNetCore.Server.Kestrel.Core.HttpProtocols.Http1AndHttp2,
            Some Certificates.server.Value
        ))

/// A kedge that takes every host and demands a token; an ad-hoc rule allows tunnels to the service in TLS.
let kedge =
    Shared.make (fun () ->
        Secrets.add proxySecret
        Secrets.add backendSecret
        backend.Value.OnWebSocketEcho "/ws"

        (Kedge.Start(
            Json.directorWithAdhoc
                [
                    """{ "backend_name": "gone", "host_matcher": "gone.prod.test" }"""
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

let sources =
    $$"""{ "auth_sources": [
             { "name": "proxy", "token": { "token": "{{proxySecret}}" } },
             { "name": "service", "token": { "token": "{{backendSecret}}" } },
             { "name": "none", "dummy": { "value": "" } },
             { "name": "wrong", "token": { "token": "not-the-right-token" } } ] }"""

/// A route of a mapper file: a pattern, the URL of its kedge, and more fields.
let route (pattern: string) (url: string) (more: string) =
    let more = if more = "" then "" else ", " + more

    $$"""{ "regexp": { "exp": {{Json.value pattern}}, "url": {{Json.value url}} },
           "tls": { "ca_files": [ {{Json.value Certificates.authority.Value.File}} ] }{{more}} }"""

let mapper (routes: string list) = $$"""{ "routes": [ {{String.Join(", ", routes)}} ] }"""

let httpKedge () = $"https://localhost:{kedge.Value.HttpsPort}"
let grpcKedge () = $"https://localhost:{kedge.Value.GrpcPort}"

/// The mapper of most tests: what `winch` adds shows by the host's first label.
let usual () =
    mapper
        [
            route "^calls-only[.]prod[.]test$" (grpcKedge ()) """ "protocol": "GRPC", "proxy_auth": "proxy" """
            route "^with-service[.]prod[.]test$" (httpKedge ()) """ "proxy_auth": "proxy", "backend_auth": "service" """
            route "^without-token[.]prod[.]test$" (httpKedge ()) """ "proxy_auth": "none" """
            route "^wrong-token[.]prod[.]test$" (httpKedge ()) """ "proxy_auth": "wrong" """
            route "^down[.]prod[.]test$" $"https://localhost:{Ports.free ()}" ""
            route "^tls[.]tunnel[.]test$" (httpKedge ()) """ "proxy_auth": "proxy", "connect": "passthrough" """
            route "^[a-z-]+[.]prod[.]test$" (grpcKedge ()) """ "protocol": "GRPC", "proxy_auth": "proxy" """
            route "^[a-z-]+[.]prod[.]test$" (httpKedge ()) """ "protocol": "HTTP", "proxy_auth": "proxy" """
        ]

/// A mapper file whose only route is for a host that no test calls.
let idle (more: string) =
    $$"""{ "routes": [ { "direct": { "key": "idle.test", "url": "https://kedge.test" } } ]{{more}} }"""

/// One winch for tests that change nothing.
let winch =
    Shared.make (fun () -> (Winch.Start(usual (), sources, [])).GetAwaiter().GetResult())

/// What curl prints and its exit code, without the variables and files of the user.
let curl (arguments: string list) : Task<int * string> =
    task {
        let info =
            ProcessStartInfo(
                "curl",
                "-q" :: "-sS" :: "--max-time" :: "30" :: arguments,
                RedirectStandardOutput = true,
                RedirectStandardError = true
            )

        for name in
            [
                "http_proxy"
                "https_proxy"
                "no_proxy"
                "HTTP_PROXY"
                "HTTPS_PROXY"
                "NO_PROXY"
                "ALL_PROXY"
            ] do
            info.Environment.Remove name |> ignore

        use running = nonNull (Process.Start info)
        let output = running.StandardOutput.ReadToEndAsync()
        let errors = running.StandardError.ReadToEndAsync()
        let! output = within "curl" output
        let! errors = within "curl" errors
        do! finishes "curl" (running.WaitForExitAsync())
        return running.ExitCode, output + errors
    }
