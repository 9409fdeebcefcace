/// Copies of requests for mirrors, over HTTP/1.1, HTTP/2 and gRPC with real callers and backends.
module Kedge.Tests.EndToEnd.MirrorTests

open System
open System.IO
open System.Net.Http
open System.Net.WebSockets
open System.Security.Cryptography
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Authorization
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private primary = Shared.make (fun () -> new HttpPeer "primary")
let private shadow = Shared.make (fun () -> new HttpPeer "shadow")
let private calls = Shared.make (fun () -> new GrpcPeer "calls")
let private shadowCalls = Shared.make (fun () -> new GrpcPeer "shadow-calls")
let private hanging = Shared.make (fun () -> RawPeer.Hanging())
let private stuck = Shared.make (fun () -> RawPeer.Hanging())
let private dying = Shared.make (fun () -> RawPeer.Resetting())

/// Sends an answer that never ends.
let private flooding =
    Shared.make (fun () ->
        new RawPeer(fun stream ->
            task {
                let! _ = RawPeer.ReadHead stream
                do! RawPeer.Write(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                let chunk = "10000\r\n" + String('x', 0x10000) + "\r\n"

                while true do
                    do! RawPeer.Write(stream, chunk)
            }))

let private issuer = Shared.make (fun () -> new Issuer())
let private closed = lazy Ports.free ()

let private backends () =
    [
        Json.backend "hangs" hanging.Value.Port
        Json.backend "floods" flooding.Value.Port
        Json.backend "dies" dying.Value.Port
        Json.backend "closed" closed.Value
        """{ "name": "nowhere", "host": { "dns_name": "no-such-host.invalid", "port": 80 } }"""
    ]

let private pool () =
    Json.pool
        ([
            Json.backend "primary" primary.Value.Port
            Json.backend "shadow" shadow.Value.Port
            Json.backend "stuck" stuck.Value.Port
         ]
         @ backends ())
        ([
            Json.backend "calls" calls.Value.Port
            Json.backend "shadow" shadowCalls.Value.Port
         ]
         @ backends ())

/// The mirrors that are of no use.
let private useless = [ "hangs"; "floods"; "dies"; "closed"; "nowhere"; "absent" ]

let private route (name: string) (mirror: string) (fields: string) =
    $$"""{ "name": "{{name}}", "host_matcher": "{{name}}.example", "mirror": [ { {{mirror}} } ], {{fields}} }"""

let private call (name: string) (mirror: string) (fields: string) =
    (route name mirror fields).Replace("host_matcher", "authority_host_matcher")

let private unsafeTo (backend: string) = $""" "backend_name": "{backend}", "unsafe_methods": true """

let private sticky (backend: string) =
    $$""" "backends": [ { "name": "{{backend}}" } ], "split_by": { "cookie": "session" } """

let private director () =
    let director =
        Json.director
            [
                for name in useless do
                    route name (unsafeTo name) """ "backend_name": "primary" """
                route "stuck" """ "backend_name": "stuck" """ """ "backend_name": "primary" """
                route
                    "copied"
                    """ "backend_name": "shadow" """
                    """ "backend_name": "primary", "path_rules": ["/in/**"],
                        "rewrite": { "replace_prefix": "/out", "host": "shop.internal" },
                        "request_headers": { "set": { "x-env": "prod" } } """
                route
                    "whole"
                    """ "backend_name": "shadow", "unsafe_methods": true, "with_credentials": true, "max_body": "32KiB" """
                    """ "backend_name": "primary" """
                route "share" """ "backend_name": "shadow", "percent": 25 """ (sticky "primary")
                // The one of the test that counts what is the same.
                route "compared" """ "backend_name": "shadow" """ """ "backend_name": "primary" """
                route "safe" """ "backend_name": "shadow" """ """ "backend_name": "primary" """
                route
                    "token"
                    """ "backend_name": "shadow", "with_credentials": true """
                    """ "backend_name": "primary", "authorization": { "token_issuers": ["staff"] } """
            ]
            [
                for name in useless do
                    call name (unsafeTo name) """ "backend_name": "calls" """
                call "share" """ "backend_name": "shadow", "percent": 25, "unsafe_methods": true """ (sticky "calls")
                call "compared" (unsafeTo "shadow") """ "backend_name": "calls" """
            ]

    $$"""{ "token_issuers": [ { "name": "staff", "issuer": "{{issuer.Value.Name}}", "header": "AUTHORIZATION",
             "audiences": ["{{issuer.Value.Audience}}"], "forward_claims": { "x-user": "sub" } } ],
           {{director.TrimStart().Substring 1}}"""

let private flags () =
    [
        $"--server_tls_client_ca_files={Certificates.authority.Value.File}"
        "--server_tls_client_cert_required=false"
        "--forward_client_cert"
    ]

let private kedge =
    Shared.make (fun () -> Kedge.Start(director (), pool (), flags ()).GetAwaiter().GetResult())

let private identity =
    lazy (Certificates.authority.Value.ClientWith("CN=caller", [ "caller.example" ]))

let private clients =
    lazy
        [
            "h1", Clients.http1 kedge.Value.HttpsPort (Some identity.Value)
            "h2", Clients.http2 kedge.Value.HttpsPort (Some identity.Value)
        ]

let private copies (backend: string) (result: string) =
    DebugPort.metric kedge.Value "kedge_mirrored_requests_total" [ "backend_name", backend; "result", result ]

let private agreement (protocol: string) (route: string) (same: string) =
    DebugPort.metric kedge.Value "kedge_mirror_status_total" [ "protocol", protocol; "route", route; "same", same ]

/// Waits for a metric that only grows.
let private reaches (what: string) (value: float) (metric: unit -> Task<float>) =
    soon patience what metric (fun found -> found >= value)

let private ok (client: HttpClient) (url: string) (headers: (string * string) list) =
    task {
        let! answer = get client url headers
        Expect.equal (answer.Status, answer.Body) (200, "primary") url
        Expect.equal (answer.Header "X-Kedge-Backend-Name") "primary" url
    }

let private postBody (client: HttpClient) (url: string) (chunked: bool) (bytes: byte array) =
    task {
        let! answer =
            send client (new HttpRequestMessage(HttpMethod.Post, url, Content = Clients.body chunked bytes))

        Expect.equal (answer.Status, answer.Body) (200, "primary") url
    }

let private bytesOf (length: int) =
    let bytes = Array.zeroCreate<byte> length
    Random(length).NextBytes bytes
    bytes

let private hashOf (bytes: byte array) = Convert.ToHexStringLower(SHA256.HashData bytes)

/// The copies on a path, once there are so many.
let private copied (path: string) (count: int) =
    task {
        do! eventually $"{count} copies on {path}" (fun () -> shadow.Value.ReceivedOn(path).Length >= count)
        return shadow.Value.ReceivedOn path
    }

let private unary (client: Echo.EchoClient) (text: string) (headers: (string * string) list) =
    task {
        let metadata = Metadata()

        for name, value in headers do
            metadata.Add(name, value)

        return! client.UnaryAsync(EchoRequest(Text = text), metadata).ResponseAsync
    }

let private harmless =
    [
        case "a mirror that hangs, floods, dies or is not there changes no answer of the backend" (fun () ->
            task {
                for name in useless do
                    for protocol, client in clients.Value do
                        for _ in 1..10 do
                            do! ok client $"https://{name}.example/" []

                        for chunked in [ false; true ] do
                            let path = $"/{name}/{protocol}/{chunked}"
                            let body = bytesOf 50_000
                            do! postBody client $"https://{name}.example{path}" chunked body
                            Expect.equal (primary.Value.One path).BodyHash (hashOf body) "the whole body"

                    use channel = Clients.grpc kedge.Value.GrpcPort None $"{name}.example"
                    let client = Echo.EchoClient channel

                    for number in 1..5 do
                        let! reply = unary client $"{number}" []
                        Expect.equal (reply.Text, reply.Backend) ($"{number}", "calls") name

                    use stream = client.Bidi()

                    for number in 1..5 do
                        do! stream.RequestStream.WriteAsync(EchoRequest(Text = $"{number}"))
                        let! isMore = stream.ResponseStream.MoveNext CancellationToken.None
                        Expect.isTrue isMore name
                        Expect.equal stream.ResponseStream.Current.Text $"{number}" "each message at once"

                    do! stream.RequestStream.CompleteAsync()
                    let! isMore = stream.ResponseStream.MoveNext CancellationToken.None
                    Expect.isFalse isMore "the end"

                // Copies were made, and each has come to its end or will.
                for name in [ "dies"; "closed"; "nowhere"; "absent" ] do
                    do! reaches $"failed copies to {name}" 30.0 (fun () -> copies name "failed")

                do! reaches "answers that are too long" 24.0 (fun () -> copies "floods" "sent")
                do! eventually "copies that hang" (fun () -> hanging.Value.Accepted >= 20)
            })

        case "at most 100 copies are in flight, and those beyond are dropped and counted" (fun () ->
            task {
                let _, client = clients.Value.Head

                for _ in 1..130 do
                    do! ok client "https://stuck.example/" []

                do! reaches "dropped ones" 1.0 (fun () -> copies "stuck" "busy")
                let accepted = stuck.Value.Accepted
                let! failed = copies "stuck" "failed"
                let! busy = copies "stuck" "busy"
                Expect.isLessThanOrEqual (float accepted - failed) 100.0 "in flight"
                Expect.isGreaterThanOrEqual (float accepted + busy) 130.0 "all are sent or dropped"
            })

        case "a body that is too long is not copied, and arrives whole; one that fits is copied whole" (fun () ->
            task {
                let! before = copies "shadow" "body_too_large"

                for protocol, client in clients.Value do
                    for chunked in [ false; true ] do
                        let path = $"/long/{protocol}/{chunked}"
                        let body = bytesOf 100_000
                        do! postBody client $"https://whole.example{path}" chunked body
                        Expect.equal (primary.Value.One path).BodyHash (hashOf body) "the backend's"
                        let path = $"/short/{protocol}/{chunked}"
                        let body = bytesOf 32_768
                        do! postBody client $"https://whole.example{path}" chunked body
                        let! copies = copied path 1
                        Expect.equal copies[0].BodyHash (hashOf body) "the mirror's"
                        Expect.equal (primary.Value.One path).BodyHash (hashOf body) "the backend's"

                let! after = copies "shadow" "body_too_large"
                Expect.equal (after - before) 4.0 "counted"

                Expect.isFalse
                    (shadow.Value.Received
                     |> Array.exists (fun copy -> copy.RawTarget.StartsWith "/long"))
                    "nothing of them was sent"
            })

        case "a request whose body does not arrive to its end is not copied" (fun () ->
            task {
                let _, client = clients.Value.Head
                let! before = copies "shadow" "failed"
                use leaves = new CancellationTokenSource()
                let reached = TaskCompletionSource()

                primary.Value.On(
                    "/cut",
                    fun context ->
                        task {
                            let! _ = context.Request.Body.ReadAsync(Array.zeroCreate<byte> 10)
                            reached.TrySetResult() |> ignore
                            do! context.Request.Body.CopyToAsync Stream.Null
                        }
                )

                let body =
                    new PushContent(fun stream ->
                        task {
                            do! stream.WriteAsync(bytesOf 10)
                            do! stream.FlushAsync()
                            do! Task.Delay(Timeout.Infinite, leaves.Token)
                        })

                let request =
                    new HttpRequestMessage(HttpMethod.Post, "https://whole.example/cut", Content = body)

                let sending = client.SendAsync(request, leaves.Token)
                do! finishes "the first part" reached.Task
                leaves.Cancel()
                let! _ = failure<OperationCanceledException> "left" (fun () -> sending)
                do! reaches "it counts" (before + 1.0) (fun () -> copies "shadow" "failed")
                Expect.isEmpty (shadow.Value.ReceivedOn "/cut") "no copy"
            })
    ]

let private content =
    [
        case "a copy is the request that the backend gets, with a mark and without credentials" (fun () ->
            task {
                for protocol, client in clients.Value do
                    do!
                        ok
                            client
                            $"https://copied.example/in/{protocol}?a=b&c"
                            [
                                "Authorization", "Basic YTpi"
                                "Cookie", "session=1"
                                "X-Kedge-Mirror", "forged"
                                "X-Forwarded-For", "192.0.2.1"
                                "Accept", "text/plain"
                                "X-Twice", "1"
                                "X-Twice", "2"
                            ]

                    let path = $"/out/{protocol}"
                    let! copies = copied path 1
                    let original, copy = primary.Value.One path, copies[0]
                    Expect.equal copy.RawTarget original.RawTarget "path and query"
                    Expect.equal (copy.Header "Host", copy.Header "x-env") ("shop.internal", "prod") "as rewritten"
                    Expect.equal (original.Header "Authorization") "Basic YTpi" "the backend gets credentials"
                    Expect.equal (original.Header "Cookie") "session=1" "the backend gets credentials"
                    Expect.stringContains (original.Header "X-Forwarded-Client-Cert") "Hash=" "the backend gets it"
                    Expect.equal (original.Values "X-Kedge-Mirror") [] "no mark"

                    let removed =
                        [ "authorization"; "cookie"; "x-forwarded-client-cert"; "x-kedge-mirror" ]

                    let others (request: ReceivedRequest) =
                        request.Headers
                        |> List.map (fun (name, value) -> name.ToLowerInvariant(), value)
                        |> List.filter (fun (name, _) -> not (List.contains name removed))
                        |> List.sort

                    Expect.equal (others copy) (others original) "all else"
                    Expect.equal (copy.Values "X-Kedge-Mirror") [ "1" ] "the mark"

                    for name in removed |> List.except [ "x-kedge-mirror" ] do
                        Expect.equal (copy.Values name) [] name
            })

        case "credentials are copied where the mirror says so, but not a token that the backend does not get" (fun () ->
            task {
                let _, client = clients.Value.Head

                do!
                    ok
                        client
                        "https://whole.example/credentials"
                        [ "Authorization", "Basic YTpi"; "Cookie", "session=1" ]

                let! copies = copied "/credentials" 1
                Expect.equal (copies[0].Header "Authorization") "Basic YTpi" "credentials"
                Expect.equal (copies[0].Header "Cookie") "session=1" "credentials"
                Expect.stringContains (copies[0].Header "X-Forwarded-Client-Cert") "Hash=" "credentials"

                let token = (issuer.Value.Token []).Text

                do! ok client "https://token.example/token" [ "Authorization", $"Bearer {token}"; "X-User", "root" ]

                let! copies = copied "/token" 1
                Expect.equal (copies[0].Values "Authorization") [] "the token is for kedge"
                Expect.equal (copies[0].Values "X-User") [ "tester" ] "kedge's word, not the caller's"
                let original = primary.Value.One "/token"
                Expect.equal (original.Values "Authorization", original.Values "X-User") ([], [ "tester" ]) "likewise"
            })

        case "requests that may change something are copied only where the mirror says so" (fun () ->
            task {
                for protocol, client in clients.Value do
                    let path = $"/unsafe/{protocol}"
                    do! postBody client $"https://safe.example{path}" false (bytesOf 10)
                    do! postBody client $"https://whole.example{path}/all" false (bytesOf 10)
                    let! _ = copied $"{path}/all" 1
                    // The copies are sent in no order, but the second one has come although it began later.
                    do! ok client $"https://safe.example{path}" []
                    let! copies = copied path 1
                    Expect.equal [ for copy in copies -> copy.Method ] [ "GET" ] "the GET alone"
            })

        case "a WebSocket is not copied" (fun () ->
            task {
                let path = "/socket"
                primary.Value.OnWebSocketEcho path
                let! before = copies "shadow" "sent"
                use invoker = new HttpMessageInvoker(Clients.handler kedge.Value.HttpsPort None)
                use socket = new ClientWebSocket()
                use limit = new CancellationTokenSource(patience)
                do! socket.ConnectAsync(Uri $"wss://safe.example{path}", invoker, limit.Token)
                let message = ArraySegment(Encoding.ASCII.GetBytes "hello")
                do! socket.SendAsync(message, WebSocketMessageType.Text, true, limit.Token)
                let! echo = socket.ReceiveAsync(ArraySegment(Array.zeroCreate<byte> 64), limit.Token)
                Expect.equal echo.Count 5 "echo"
                do! ok (snd clients.Value.Head) "https://safe.example/after-socket" []
                let! _ = copied "/after-socket" 1
                do! reaches "the request after it" (before + 1.0) (fun () -> copies "shadow" "sent")
                Expect.isEmpty (shadow.Value.ReceivedOn path) "no copy"
            })

        case "with a key, the same callers are copied from every protocol, as explain says" (fun () ->
            task {
                let keys = [ for number in 1..120 -> $"user-{number}" ]
                let cookie key = [ "cookie", $"theme=dark; session={key}" ]
                let mark = "end-of-share"

                /// The keys of the copies on a path, once all have come.
                let chosen (client: HttpClient) (path: string) =
                    task {
                        for key in keys do
                            do! ok client $"https://share.example{path}?{key}" (cookie key)

                        do! Task.Delay 300
                        let! sent = standsStill (fun () -> int64 (shadow.Value.ReceivedOn(path).Length))
                        let copies = shadow.Value.ReceivedOn path
                        Expect.equal (int64 copies.Length) sent "all have come"
                        return copies |> Array.map (fun copy -> (copy.RawTarget.Split '?')[1]) |> Set
                    }

                let! first = chosen (snd clients.Value[0]) "/share1"
                let! second = chosen (snd clients.Value[1]) "/share2"
                Expect.equal second first "HTTP/1.1 and HTTP/2 agree"
                Expect.isTrue (first.Count > 10 && first.Count < 55) $"about 30 of 120: {first.Count}"
                use channel = Clients.grpc kedge.Value.GrpcPort None "share.example"
                let client = Echo.EchoClient channel

                for key in keys do
                    let! reply = unary client mark (("x-key", key) :: cookie key)
                    Expect.equal reply.Backend "calls" "the backend"

                let keysOfCopies () =
                    shadowCalls.Value.Calls
                    |> Array.collect (fun call ->
                        [|
                            for name, value in call.Metadata do
                                if name = "x-key" then
                                    value
                        |])

                let! _ = standsStill (fun () -> int64 (keysOfCopies().Length))
                Expect.equal (Set(keysOfCopies ())) first "gRPC agrees: the names of route and mirror decide"

                for key in [ keys[0]; keys[1]; Seq.head first ] do
                    let! _, output, _ =
                        run
                            [
                                "explain"
                                "GET"
                                "https://share.example/"
                                "-H"
                                $"cookie: session={key}"
                                InspectionStage.director kedge.Value.DirectorFile
                            ]

                    let word = if first.Contains key then "a copy" else "no copy"

                    Expect.exists
                        output
                        (fun line ->
                            line.Trim().StartsWith $"mirror: {word} to shadow, which gets 25 %%: by the key {key};")
                        $"{key}: %A{output}"
            })
    ]

let private compared =
    [
        case "the status of the mirror is compared with the one that the caller got" (fun () ->
            task {
                let fail (context: Microsoft.AspNetCore.Http.HttpContext) : Task =
                    context.Response.StatusCode <- 500
                    Task.CompletedTask

                shadow.Value.On("/worse", fail)
                primary.Value.On("/both", fail)
                shadow.Value.On("/both", fail)
                let! same = agreement "http" "compared" "true"
                let! different = agreement "http" "compared" "false"

                for protocol, client in clients.Value do
                    do! ok client $"https://compared.example/fine/{protocol}" []
                    do! ok client "https://compared.example/worse" []
                    let! answer = get client "https://compared.example/both" []
                    Expect.equal answer.Status 500 "the backend's"

                do! reaches "the same" (same + 4.0) (fun () -> agreement "http" "compared" "true")
                do! reaches "another" (different + 2.0) (fun () -> agreement "http" "compared" "false")
                let! same' = agreement "http" "compared" "true"
                let! different' = agreement "http" "compared" "false"
                Expect.equal (same' - same, different' - different) (4.0, 2.0) "no more"
                use channel = Clients.grpc kedge.Value.GrpcPort None "compared.example"
                let client = Echo.EchoClient channel
                let! reply = unary client "x" []
                Expect.equal reply.Backend "calls" "the backend"

                let! _ =
                    failure<RpcException> "fails" (fun () ->
                        client.UnaryAsync(EchoRequest(FailWith = uint32 StatusCode.Aborted)).ResponseAsync)

                do! reaches "gRPC, from trailers and headers" 2.0 (fun () -> agreement "grpc" "compared" "true")
                let! different = agreement "grpc" "compared" "false"
                Expect.equal different 0.0 "gRPC"

                let! status = DebugPort.text kedge.Value "/debug/status"
                Expect.stringContains status "mirror shadow 25 %, safe methods, body to 64KiB" "the page"
            })
    ]

[<Tests>]
let tests = testList "mirrors of routes" (harmless @ content @ compared)
