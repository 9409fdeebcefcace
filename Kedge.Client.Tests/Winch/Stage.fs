/// What the tests of winch need in front of the kedge: mapper files, a running winch, curl.
module Kedge.Client.Tests.Winch.Stage

open System
open System.Diagnostics
open System.Net.Http
open System.Threading.Tasks
open Grpc.Net.Client
open Kedge.Client.Tests.Behind
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Http

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
            route "^api[.]prod[.]test:6443$" (httpKedge ()) """ "proxy_auth": "proxy", "backend_auth": "service" """
            route "^without-token[.]prod[.]test$" (httpKedge ()) """ "proxy_auth": "none" """
            route "^wrong-token[.]prod[.]test$" (httpKedge ()) """ "proxy_auth": "wrong" """
            route "^down[.]prod[.]test$" $"https://localhost:{Ports.free ()}" ""
            $$"""{ "direct": { "key": "untrusted.prod.test", "url": "{{httpKedge ()}}" } }"""
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

let channelOn (handler: HttpMessageHandler) (host: string) =
    GrpcChannel.ForAddress($"http://{host}", GrpcChannelOptions(HttpHandler = handler, DisposeHttpClient = true))

/// A channel for a host whose calls go to a port of this machine.
let channelTo (port: int) (host: string) = channelOn (handlerOn port) host

/// What curl prints of a stream that lasts longer than the Go implementation lets any last (15 s), and its exit code. The
/// first test begins it, so that it runs while others do.
let longStream: Lazy<Task<int * string>> =
    lazy
        (backend.Value.On(
            "/long-stream",
            fun context ->
                task {
                    for second in 0..15 do
                        do! context.Response.WriteAsync $"{second} "
                        do! context.Response.Body.FlushAsync()
                        do! Task.Delay(1000, context.RequestAborted)

                    do! context.Response.WriteAsync "end"
                }
         )

         curl
             [
                 "-N"
                 "-w"
                 " %{time_total}"
                 "--proxy"
                 winch.Value.Proxy
                 "http://plain.prod.test/long-stream"
             ])
