/// Each attack for some seconds, with 1,024 open files: another caller is served, and memory stays below 512 MiB.
/// `KEDGE_ATTACK_SECONDS` sets how long each attack lasts (3 by default).
module Kedge.Tests.EndToEnd.AttackTests

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto
open Google.Protobuf
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private duration =
    match Double.TryParse(Environment.GetEnvironmentVariable "KEDGE_ATTACK_SECONDS") with
    | true, seconds -> TimeSpan.FromSeconds seconds
    | _ -> TimeSpan.FromSeconds 3.0

let private maxResident = 512L * 1024L * 1024L

let private start (hanging: RawPeer) =
    Kedge.Start
        { Kedge.Defaults with
            Director =
                Json.director
                    [
                        Json.httpRoute "alpha" "alpha.example"
                        Json.httpRoute "hanging" "held.example"
                        """{ "backend_name": "beta", "host_matcher": "paths.example", "path_rules": ["/admin/*"],
                             "authorization": { "any_perms": ["admin"] } }"""
                        """{ "backend_name": "beta", "host_matcher": "paths.example" }"""
                    ]
                    [ Json.grpcRoute "echo" "echo.example" ]
            BackendPool =
                Json.pool
                    [
                        Json.backend "alpha" alpha.Value.Port
                        Json.backend "beta" beta.Value.Port
                        Json.backend "hanging" hanging.Port
                    ]
                    [ Json.backend "echo" echo.Value.Port ]
            OpenFiles = 1024
        }

/// Sends a request on a connection of its own, and yields what comes until its end.
let private ask (kedge: Kedge) (request: string) =
    task {
        use! client = RawClient.Connect kedge.HttpsPort
        do! client.Write request
        return! client.ReadToEnd()
    }

/// What one round of an attack does; what it opens stays open until the end of the attack.
let private attacks: (string * (Kedge -> Task<IDisposable>)) list =
    [
        "idle connections",
        (fun kedge -> Task.FromResult(new OpenFilesTests.Flood(kedge.HttpsPort, 200) :> IDisposable))

        "headers that HPACK names with one byte",
        (fun kedge ->
            task {
                let! client = CallerMemoryTests.amplified kedge.HttpsPort
                return client :> IDisposable
            })

        "responses that nobody reads",
        (fun kedge ->
            task {
                let! client = Http2Frames.Connect kedge.GrpcPort
                do! CallerMemoryTests.closeWindow client
                let payload = ByteString.CopyFrom(Array.zeroCreate<byte> 10_000)

                for i in 0..49 do
                    do! CallerMemoryTests.call client (2 * i + 1) (EchoRequest(Replies = 100u, Payload = payload))

                return client :> IDisposable
            })

        "path parameters",
        (fun kedge ->
            task {
                for path in [ "/admin;x/y"; "/;/admin/y"; "/admin;a=b/c" ] do
                    let! answer =
                        ask kedge $"GET {path} HTTP/1.1\r\nHost: paths.example\r\nConnection: close\r\n\r\n"

                    Expect.isFalse (answer.StartsWith "HTTP/1.1 200") $"{path} does not get past the rule"

                return new MemoryStream() :> IDisposable
            })

        "two framings",
        (fun kedge ->
            task {
                for head in
                    [
                        "POST / HTTP/1.0\r\nHost: alpha.example\r\nContent-Type: application/grpc\r\n"
                        + "Transfer-Encoding: chunked\r\n"
                        "CONNECT alpha.example:443 HTTP/1.1\r\nHost: alpha.example:443\r\n"
                        + "Transfer-Encoding: gzip, chunked\r\n"
                    ] do
                    let! answer =
                        ask kedge (head + "\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: alpha.example\r\n\r\n")

                    Expect.isFalse (answer.Contains "HTTP/1.1 200") "what is behind is not a request"

                return new MemoryStream() :> IDisposable
            })
    ]

[<Tests>]
let tests =
    testSequenced
    <| testList
        "attacks"
        [
            for name, attack in attacks do
                case $"{name}: another caller is served all the time, and kedge lives in 512 MiB" (fun () ->
                    task {
                        use hanging = RawPeer.Hanging()
                        use! kedge = start hanging
                        let opened = Collections.Generic.List<IDisposable>()
                        let watch = Stopwatch.StartNew()
                        let mutable served = 0
                        let mutable rounds = 0

                        while watch.Elapsed < duration || served < 10 do
                            // At a pace that grows with the time that is given.
                            if rounds < 3 || rounds < int watch.Elapsed.TotalSeconds then
                                let! round = attack kedge
                                opened.Add round
                                rounds <- rounds + 1

                            use client = Clients.http2 kedge.HttpsPort None
                            let! answer = get client "https://alpha.example/well-behaved" []
                            Expect.equal (answer.Status, answer.Body) (200, "alpha") "another caller"
                            served <- served + 1
                            Expect.isLessThan kedge.Program.ResidentBytes maxResident "resident bytes"

                        for one in opened do
                            one.Dispose()

                        let! health = DebugPort.text kedge "/_healthz"
                        Expect.isNotEmpty health "health"
                        Expect.isFalse kedge.Program.HasExited "running"
                        Expect.isEmpty (alpha.Value.ReceivedOn "/smuggled") "nothing was smuggled"
                    })
        ]
