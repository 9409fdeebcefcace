/// Certificates that are chosen by the name that a client asks for, from directories that change while kedge runs.
module Kedge.Tests.EndToEnd.CertificateByNameTests

open System
open System.IO
open System.Net.Http
open System.Net.Security
open System.Security.Authentication
open System.Security.Cryptography.X509Certificates
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// Writes a pair as `name.crt` and `name.key`, each in one step.
let private put (files: Scratch) (name: string) (identity: Identity) =
    for source, ending in [ identity.KeyFile, ".key"; identity.CertFile, ".crt" ] do
        let copy = files.File(name + ending + ".new")
        File.Copy(source, copy, true)
        File.Move(copy, files.File(name + ending), true)

/// Writes a pair as Kubernetes mounts a Secret: links to a directory that a link leads to.
let private mount (files: Scratch) (name: string) (identity: Identity) =
    let directory = Directory.CreateDirectory(files.File name).FullName

    let version =
        Directory.CreateDirectory(Path.Combine(directory, "..2026_01")).FullName

    File.Copy(identity.CertFile, Path.Combine(version, "tls.crt"))
    File.Copy(identity.KeyFile, Path.Combine(version, "tls.key"))

    File.CreateSymbolicLink(Path.Combine(directory, "..data"), "..2026_01")
    |> ignore

    for file in [ "tls.crt"; "tls.key" ] do
        File.CreateSymbolicLink(Path.Combine(directory, file), Path.Combine("..data", file))
        |> ignore

let private routes = [ "a.example"; "x.b.example"; "c.example"; "other.example" ]

let private start (files: Scratch) (flags: string list) =
    Kedge.Start(
        Json.director (routes |> List.map (Json.httpRoute "alpha")) (routes |> List.map (Json.grpcRoute "echo")),
        Json.pool [ Json.backend "alpha" alpha.Value.Port ] [ Json.backend "echo" echo.Value.Port ],
        $"--server_tls_cert_dirs={files.Path}" :: flags
    )

/// A connection that asks for this name and offers this protocol.
let private connectTo (port: int) (name: string) (protocol: SslApplicationProtocol) : Task<SslStream> =
    task {
        let socket =
            new Net.Sockets.Socket(
                Net.Sockets.AddressFamily.InterNetwork,
                Net.Sockets.SocketType.Stream,
                Net.Sockets.ProtocolType.Tcp
            )

        try
            do! socket.ConnectAsync(Net.IPEndPoint(Net.IPAddress.Loopback, port))

            let tls =
                new SslStream(new Net.Sockets.NetworkStream(socket, true), false, (fun _ _ _ _ -> true))

            do!
                tls.AuthenticateAsClientAsync(
                    SslClientAuthenticationOptions(
                        TargetHost = name,
                        ApplicationProtocols = Collections.Generic.List [ protocol ]
                    )
                )

            return tls
        with e ->
            socket.Dispose()
            return raise e
    }

let private connect (kedge: Kedge) (name: string) = connectTo kedge.HttpsPort name SslApplicationProtocol.Http11

/// Sends the bytes on a connection for that name, and returns the beginning of what comes back.
let private exchange (kedge: Kedge) (name: string) (request: string) : Task<string> =
    task {
        use! tls = connect kedge name
        do! tls.WriteAsync(ReadOnlyMemory(Text.Encoding.ASCII.GetBytes request))
        let buffer = Array.zeroCreate<byte> 4096
        let! count = tls.ReadAsync(Memory buffer)
        return Text.Encoding.ASCII.GetString(buffer, 0, count)
    }

/// The serial number of the certificate that a client gets for the name.
let servedFor (kedge: Kedge) (name: string) : Task<string> =
    task {
        use! tls = connect kedge name
        return (nonNull tls.RemoteCertificate).GetSerialNumberString()
    }

let serial (identity: Identity) = identity.Certificate.SerialNumber

let becomes (kedge: Kedge) (name: string) (identity: Identity) =
    soon patience $"the certificate for {name}" (fun () -> servedFor kedge name) (fun found -> found = serial identity)

/// Connections that ask for this name, whatever host the requests on them are for.
let private handlerFor (name: string) (port: int) (version: Version) =
    let handler = Clients.handler port None

    let protocol =
        if version = Net.HttpVersion.Version20 then
            SslApplicationProtocol.Http2
        else
            SslApplicationProtocol.Http11

    handler.ConnectCallback <-
        fun _ _ ->
            Threading.Tasks.ValueTask<Stream>(
                task {
                    let! tls = connectTo port name protocol
                    return tls :> Stream
                }
            )

    handler

let private asking (name: string) (port: int) (version: Version) =
    new HttpClient(
        handlerFor name port version,
        DefaultRequestVersion = version,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Timeout = patience
    )

let private metrics (kedge: Kedge) =
    task {
        use client = new HttpClient()
        return! client.GetStringAsync(kedge.DebugUrl "/metrics")
    }

let private authority = lazy Certificates.authority.Value

[<Tests>]
let tests =
    testList
        "certificates by name"
        [
            case "each name gets its certificate: exact, by wildcard, as mounted, else the default" (fun () ->
                task {
                    use files = new Scratch()

                    let a, b, c =
                        authority.Value.ServerFor [ "a.example" ],
                        authority.Value.ServerFor [ "*.b.example" ],
                        authority.Value.ServerFor [ "c.example" ]

                    put files "a" a
                    put files "b" b
                    mount files "c" c
                    use! kedge = start files []

                    for name, identity in
                        [
                            "a.example", a
                            "A.EXAMPLE", a
                            "x.b.example", b
                            "x.y.b.example", Certificates.server.Value
                            "b.example", Certificates.server.Value
                            "c.example", c
                            "other.example", Certificates.server.Value
                        ] do
                        let! found = servedFor kedge name
                        Expect.equal found (serial identity) name

                    for version in [ Net.HttpVersion.Version11; Net.HttpVersion.Version20 ] do
                        for name in routes do
                            use client = asking name kedge.HttpsPort version
                            let! answer = get client $"https://{name}/" []
                            Expect.equal (answer.Status, answer.Body) (200, "alpha") $"{name} over {version}"

                    let! text = metrics kedge
                    let source name = "certificate=\"" + files.File name + "\""
                    Expect.stringContains text ("kedge_tls_handshakes_total{" + source "a") "counted"
                    Expect.stringContains text "kedge_certificates{source=\"directory\",state=\"serving\"} 3" "states"

                    Expect.stringContains text ("kedge_certificate_expiry_timestamp_seconds{" + source "c") "expiry"

                    let! page = DebugPort.json kedge "/debug/status"

                    let shown =
                        [
                            for certificate in page.GetProperty("certificates").EnumerateArray() do
                                let value (name: string) = string (certificate.GetProperty name)
                                Expect.stringStarts (value "state") "valid for " (value "name")

                                Expect.isGreaterThan
                                    (certificate.GetProperty("expires").GetDateTimeOffset())
                                    DateTimeOffset.UtcNow
                                    (value "name")

                                value "name", value "names"
                        ]

                    Expect.equal (fst shown.Head) "default" "the default one comes first on the status page"

                    Expect.equal
                        (List.sort shown.Tail)
                        [
                            files.File "a", "a.example"
                            files.File "b", "*.b.example"
                            files.File "c", "c.example"
                        ]
                        "then the others, with their names"
                })

            case
                "a renewed certificate is served; one that becomes invalid keeps its predecessor and harms no other"
                (fun () ->
                    task {
                        use files = new Scratch()

                        let a, renewed =
                            authority.Value.ServerFor [ "a.example" ], authority.Value.ServerFor [ "a.example" ]

                        let c, added =
                            authority.Value.ServerFor [ "c.example" ], authority.Value.ServerFor [ "x.b.example" ]

                        put files "a" a
                        put files "c" c
                        use! kedge = start files []
                        do! becomes kedge "a.example" a
                        put files "a" renewed
                        do! becomes kedge "a.example" renewed
                        // The key of another certificate.
                        File.Copy(c.KeyFile, files.File "a.key", true)
                        put files "b" added
                        do! becomes kedge "x.b.example" added
                        do! becomes kedge "a.example" renewed
                        do! becomes kedge "c.example" c
                        let! text = metrics kedge

                        Expect.stringContains
                            text
                            "kedge_certificates{source=\"directory\",state=\"quarantined\"} 1"
                            "state"

                        use client = new HttpClient()
                        let! page = client.GetStringAsync(kedge.DebugUrl "/debug/status")
                        Expect.stringContains page "is not the key of the certificate" "on the status page"
                        put files "a" a
                        do! becomes kedge "a.example" a
                        File.Delete(files.File "c.crt")
                        File.Delete(files.File "c.key")
                        do! becomes kedge "c.example" Certificates.server.Value
                    })

            case "certificates are renewed under load without a failed handshake or request" (fun () ->
                task {
                    use files = new Scratch()
                    let issue () = authority.Value.ServerFor [ "a.example" ]
                    put files "a" (issue ())
                    use! kedge = start files []
                    use stop = new Threading.CancellationTokenSource()
                    let answered = ref 0

                    // Each request has a connection of its own.
                    let http (version: Version) () : Task =
                        task {
                            use client = asking "a.example" kedge.HttpsPort version
                            let! answer = get client "https://a.example/" []
                            Expect.equal (answer.Status, answer.Body) (200, "alpha") "HTTP"
                        }

                    let grpc () : Task =
                        task {
                            use channel = Clients.grpc kedge.GrpcPort None "a.example:443"
                            let! reply = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"))
                            Expect.equal reply.Text "x" "gRPC"
                        }

                    let worker (request: unit -> Task) =
                        task {
                            while not stop.IsCancellationRequested do
                                do! request ()
                                Threading.Interlocked.Increment answered |> ignore
                        }

                    let workers =
                        [ http Net.HttpVersion.Version11; http Net.HttpVersion.Version20; grpc ]
                        |> List.map worker

                    for round in 1..4 do
                        let renewed = issue ()
                        let before = answered.Value
                        put files "a" renewed
                        do! becomes kedge "a.example" renewed

                        if round = 2 then
                            // A file that is cut short, as by a full disk.
                            File.WriteAllText(files.File "a.crt", "-----BEGIN CERTIFICATE-----")

                            do!
                                eventually "quarantine" (fun () ->
                                    kedge.Program.Output.Contains "the previous one stays active")

                        do! eventually "requests meanwhile" (fun () -> answered.Value > before)

                    stop.Cancel()
                    do! finishes "the workers" (Task.WhenAll(workers |> List.map (fun one -> one :> Task)))
                })

            case
                "a request for a host of another certificate gets 421; hosts that no certificate names are served"
                (fun () ->
                    task {
                        use files = new Scratch()
                        put files "a" (authority.Value.ServerFor [ "a.example" ])
                        put files "c" (authority.Value.ServerFor [ "c.example" ])
                        use! kedge = start files []

                        for version in [ Net.HttpVersion.Version11; Net.HttpVersion.Version20 ] do
                            use client = asking "a.example" kedge.HttpsPort version
                            let! own = get client "https://a.example/" []
                            Expect.equal own.Status 200 "its own host"
                            let! other = get client "https://c.example/" []

                            Expect.equal
                                (other.Status, other.Header "X-Kedge-Error-Type")
                                (421, "misdirected")
                                "another's"

                            let! unnamed = get client "https://other.example/" []
                            Expect.equal unnamed.Status 200 "nobody's"
                            use bare = asking "unknown.example" kedge.HttpsPort version
                            let! other = get bare "https://c.example/" []
                            Expect.equal other.Status 421 "the default certificate is another one, too"
                            let! own = get bare "https://localhost/" []
                            Expect.equal (own.Header "X-Kedge-Error-Type") "no-route" "its own name"

                        let! answer =
                            exchange kedge "a.example" "GET http://c.example/ HTTP/1.1\r\nHost: c.example\r\n\r\n"

                        Expect.stringStarts answer "HTTP/1.1 200" "a request to a forward proxy"

                        use handler = handlerFor "a.example" kedge.GrpcPort Net.HttpVersion.Version20

                        use channel =
                            Grpc.Net.Client.GrpcChannel.ForAddress(
                                "https://c.example",
                                Grpc.Net.Client.GrpcChannelOptions(HttpHandler = handler)
                            )

                        let! code =
                            task {
                                try
                                    let! _ = Echo.EchoClient(channel).UnaryAsync(EchoRequest())
                                    return StatusCode.OK
                                with :? RpcException as e ->
                                    return e.StatusCode
                            }

                        Expect.equal code StatusCode.Unavailable "gRPC"
                    })

            case "--server_tls_strict_sni refuses names without a certificate" (fun () ->
                task {
                    use files = new Scratch()
                    let a = authority.Value.ServerFor [ "a.example" ]
                    put files "a" a
                    use! kedge = start files [ "--server_tls_strict_sni" ]
                    let! found = servedFor kedge "a.example"
                    Expect.equal found (serial a) "its name"

                    let! refused =
                        task {
                            try
                                let! _ = servedFor kedge "other.example"
                                return false
                            with
                            | :? AuthenticationException
                            | :? IOException -> return true
                        }

                    Expect.isTrue refused "another name"

                    do!
                        soon
                            patience
                            "the failure is counted"
                            (fun () ->
                                DebugPort.metric
                                    kedge
                                    "kedge_tls_handshake_failures_total"
                                    [ "listener", "http_tls"; "reason", "unknown_name" ])
                            (fun count -> count = 1.0)

                    Expect.isTrue (kedge.Program.Output.Contains "no certificate is for") "in the log"
                })

            case "--server_tls_min_version and --server_tls_ciphers" (fun () ->
                task {
                    let suiteOf (kedge: Kedge) (protocols: SslProtocols) =
                        task {
                            use socket =
                                new Net.Sockets.Socket(
                                    Net.Sockets.AddressFamily.InterNetwork,
                                    Net.Sockets.SocketType.Stream,
                                    Net.Sockets.ProtocolType.Tcp
                                )

                            do! socket.ConnectAsync(Net.IPEndPoint(Net.IPAddress.Loopback, kedge.HttpsPort))

                            use tls =
                                new SslStream(new Net.Sockets.NetworkStream(socket), false, (fun _ _ _ _ -> true))

                            try
                                do!
                                    tls.AuthenticateAsClientAsync(
                                        SslClientAuthenticationOptions(
                                            TargetHost = "a.example",
                                            EnabledSslProtocols = protocols
                                        )
                                    )

                                return Some tls.NegotiatedCipherSuite
                            with
                            | :? AuthenticationException
                            | :? IOException -> return None
                        }

                    use! strict = Kedge.Start("{}", "{}", [ "--server_tls_min_version=1.3" ])
                    let! old = suiteOf strict SslProtocols.Tls12
                    Expect.isNone old "TLS 1.2"
                    let! recent = suiteOf strict SslProtocols.Tls13
                    Expect.isSome recent "TLS 1.3"

                    use! narrow =
                        Kedge.Start(
                            "{}",
                            "{}",
                            [
                                "--server_tls_ciphers=TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
                            ]
                        )

                    let! suite = suiteOf narrow SslProtocols.Tls13
                    Expect.equal suite (Some TlsCipherSuite.TLS_AES_256_GCM_SHA384) "TLS 1.3"
                    let! suite = suiteOf narrow SslProtocols.Tls12
                    Expect.equal suite (Some TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) "TLS 1.2"

                    let! code, _, errors =
                        KedgeProgram.RunToEnd [ "--server_tls_ciphers=TLS_AES_256_GCM_SHA385" ]

                    Expect.equal code 2 "an unknown suite"

                    Expect.stringContains
                        (String.Join('\n', errors))
                        "did you mean TLS_AES_256_GCM_SHA384?"
                        "which one"
                })

            case "a directory that is not there is an error at the start" (fun () ->
                task {
                    let! code, _, errors =
                        KedgeProgram.RunToEnd [ "serve"; "--server_tls_cert_dirs=/nowhere" ]

                    Expect.equal code 2 "usage"
                    Expect.stringContains (String.Join('\n', errors)) "/nowhere: no such directory" "says so"
                })
        ]
