/// Each attack for some seconds, with 1,024 open files: another caller is served, and memory stays below 512 MiB.
/// `KEDGE_ATTACK_SECONDS` sets how long each attack lasts (1 by default); `bench/attacks` runs them for a minute each in
/// a control group of 512 MiB.
module Kedge.Tests.EndToEnd.AttackTests

open System
open System.Diagnostics
open System.IO
open System.Net.NetworkInformation
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto
open Google.Protobuf
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private duration =
    match Double.TryParse(Environment.GetEnvironmentVariable "KEDGE_ATTACK_SECONDS") with
    | true, seconds -> TimeSpan.FromSeconds seconds
    | _ -> TimeSpan.FromSeconds 1.0

let private maxResident = 512L * 1024L * 1024L

/// Responses that no backend should send: a body where none may be, lengths that contradict, no HTTP at all.
let private malformed =
    [
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\n"
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello"
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello"
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut"
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n"
        "HTTP/1.1 000 X\r\n\r\n"
        "no HTTP\r\n\r\n"
        ""
    ]

/// Gives each connection the next of these, and ends it.
let private malformedPeer () =
    let mutable next = -1

    new RawPeer(fun stream ->
        task {
            let! _ = RawPeer.ReadHead stream
            let index = Threading.Interlocked.Increment &next
            do! RawPeer.Write(stream, malformed[index % malformed.Length])
        })

/// Everything that the attacks need, in one server.
type private Target() =
    let hanging = RawPeer.Hanging()
    let odd = malformedPeer ()
    let dns = new RawDns(fun _ -> Silence)

    member _.Start() =
        let alpha =
            $$"""{ "name": "alpha", "host": { "dns_name": "127.0.0.1", "port": {{alpha.Value.Port}} },
                   "outlier_detection": { "consecutive_failures": 5, "max_ejection_percent": 100 } }"""

        let director =
            Json.directorWithAdhoc
                [
                    Json.httpRoute "alpha" "alpha.example"
                    Json.httpRoute "hanging" "held.example"
                    Json.httpRoute "odd" "odd.example"
                    """{ "backend_name": "beta", "host_matcher": "paths.example", "path_rules": ["/admin/*"],
                         "authorization": { "any_perms": ["admin"] } }"""
                    """{ "backend_name": "beta", "host_matcher": "paths.example" }"""
                ]
                [ Json.grpcRoute "echo" "echo.example" ]
                [
                    """{ "dns_name_matcher": "10.77.0.1", "port": { "allowed": [1] } }"""
                    """{ "dns_name_matcher": "*", "port": { "allowed_ranges": [{ "from": 1, "to": 65535 }] } }"""
                ]

        Kedge.Start
            { Kedge.Defaults with
                Director = director
                BackendPool =
                    Json.pool
                        [
                            alpha
                            Json.backend "beta" beta.Value.Port
                            Json.backend "hanging" hanging.Port
                            Json.backend "odd" odd.Port
                        ]
                        [ Json.backend "echo" echo.Value.Port ]
                Flags = [ $"--dns_nameservers=127.0.0.1:{dns.Port}" ]
                OpenFiles = 1024
            }

    interface IDisposable with
        member _.Dispose() =
            (hanging :> IDisposable).Dispose()
            (odd :> IDisposable).Dispose()
            (dns :> IDisposable).Dispose()

/// Sends a request on a connection of its own, and yields what comes until its end.
let private ask (kedge: Kedge) (request: string) =
    task {
        use! client = RawClient.Connect kedge.HttpsPort
        do! client.Write request
        return! client.ReadToEnd()
    }

let private nothing = new MemoryStream() :> IDisposable

/// A request for a target that kedge must refuse.
let private refused (kedge: Kedge) (authority: string) =
    task {
        let! answer =
            ask kedge $"GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"

        Expect.stringStarts answer "HTTP/1.1 400" authority
    }

/// The addresses of this host that are not loopback, as authorities have them.
let private ownHosts =
    lazy
        [
            for nic in NetworkInterface.GetAllNetworkInterfaces() do
                for address in nic.GetIPProperties().UnicastAddresses do
                    if
                        nic.NetworkInterfaceType <> NetworkInterfaceType.Loopback
                        && not address.Address.IsIPv6LinkLocal
                    then
                        if address.Address.ToString().Contains ':' then
                            $"[{address.Address}]"
                        else
                            string address.Address
        ]

/// What one round of an attack does; what it opens stays open until the end of the attack.
let private attacks: (string * (Kedge -> Task<IDisposable>)) list =
    [
        "malformed responses of a backend",
        (fun kedge ->
            task {
                for protocol in [ Clients.http1; Clients.http2 ] do
                    use client = protocol kedge.HttpsPort None

                    for _ in malformed do
                        try
                            let! _ = get client "https://odd.example/" []
                            ()
                        with :? Net.Http.HttpRequestException ->
                            // Cut after its headers.
                            ()

                return nothing
            })

        "idle connections",
        (fun kedge -> Task.FromResult(new OpenFilesTests.Flood(kedge.HttpsPort, 200) :> IDisposable))

        "ad-hoc names that nobody resolves",
        (fun kedge ->
            task {
                let! client = Http2Frames.Connect kedge.HttpsPort

                for i in 0..199 do
                    do!
                        client.Headers(
                            2 * i + 1,
                            [
                                ":method", "GET"
                                ":scheme", "https"
                                ":authority", $"n{Random.Shared.Next()}.silent.test:80"
                                ":path", "/"
                            ],
                            true
                        )

                return client :> IDisposable
            })

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

        "configuration files that are none",
        (fun kedge ->
            task {
                let text = File.ReadAllText kedge.DirectorFile

                for make in [ OperatorFileTests.fifo; OperatorFileTests.device ] do
                    make kedge.DirectorFile
                    kedge.Program.Signal PosixSignal.SIGHUP
                    // Time for the reload.
                    do! Task.Delay 100

                File.Delete kedge.DirectorFile
                File.WriteAllText(kedge.DirectorFile, text)
                return nothing
            })

        "signals",
        (fun kedge ->
            task {
                // SIGUSR1, SIGUSR2.
                for signal in [ enum<PosixSignal> 10; enum<PosixSignal> 12; PosixSignal.SIGHUP ] do
                    kedge.Program.Signal signal

                return nothing
            })

        "chunk sizes that overflow",
        (fun kedge ->
            task {
                for size in [ "fffffffff"; "ffffffffffffffffffff"; "-1"; "0x5" ] do
                    for _ in 1..3 do
                        let! answer =
                            ask
                                kedge
                                ("POST / HTTP/1.1\r\nHost: alpha.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 + size
                                 + "\r\nhello\r\n")

                        Expect.stringStarts answer "HTTP/1.1 400" size

                return nothing
            })

        "path parameters",
        (fun kedge ->
            task {
                for path in [ "/admin;x/y"; "/;/admin/y"; "/admin;a=b/c" ] do
                    let! answer =
                        ask kedge $"GET {path} HTTP/1.1\r\nHost: paths.example\r\nConnection: close\r\n\r\n"

                    Expect.isFalse (answer.StartsWith "HTTP/1.1 200") $"{path} does not get past the rule"

                return nothing
            })

        "kedge's own ports, special addresses and other spellings",
        (fun kedge ->
            task {
                for host in ownHosts.Value do
                    for port in [ kedge.DebugPort; kedge.HttpsPort; kedge.GrpcPort ] do
                        do! refused kedge $"{host}:{port}"

                for host in
                    [
                        "127.0.0.1"
                        "[fd00:ec2::254]"
                        "[64:ff9b:1::a00:1]"
                        "[::ffff:0:10.0.0.1]"
                        "[2001:0:1::1]"
                        "[fd00::5efe:127.0.0.1]"
                        "[fec0::1]"
                        "240.0.0.1"
                        "169.254.169.254"
                        "10.77.0.1"
                        "10.77.1"
                        "0x0a4d0001"
                        "10.77.0.01"
                    ] do
                    do! refused kedge $"{host}:80"

                return nothing
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

                return nothing
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
                        use target = new Target()
                        use! kedge = target.Start()
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
