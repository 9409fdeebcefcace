/// Handshakes of callers: pairs that the TLS library must accept, the chain that is sent, failures, resumption.
module Kedge.Tests.EndToEnd.HandshakeTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.Security
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Security.Authentication
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// A key with its certificate, or a certificate authority.
type private Issued =
    {
        Key: AsymmetricAlgorithm
        Certificate: X509Certificate2
    }

    member this.Pem = this.Certificate.ExportCertificatePem()

let private ec () : AsymmetricAlgorithm = ECDsa.Create ECCurve.NamedCurves.nistP256
let private rsa (bits: int) : AsymmetricAlgorithm = RSA.Create bits

/// A certificate of that key; without an issuer it is self-signed.
let private certify (name: string) (isAuthority: bool) (key: AsymmetricAlgorithm) (issuer: Issued option) : Issued =
    let subject = X500DistinguishedName $"CN={name}"

    let request =
        match key with
        | :? RSA as key -> CertificateRequest(subject, key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
        | key -> CertificateRequest(subject, (key :?> ECDsa), HashAlgorithmName.SHA256)

    request.CertificateExtensions.Add(X509BasicConstraintsExtension(isAuthority, false, 0, true))
    request.CertificateExtensions.Add(X509SubjectKeyIdentifierExtension(request.PublicKey, false))

    if not isAuthority then
        let names = SubjectAlternativeNameBuilder()
        names.AddDnsName "localhost"
        request.CertificateExtensions.Add(names.Build())

    let signer = issuer |> Option.map _.Key |> Option.defaultValue key

    let generator =
        match signer with
        | :? RSA as key -> X509SignatureGenerator.CreateForRSA(key, RSASignaturePadding.Pkcs1)
        | key -> X509SignatureGenerator.CreateForECDsa(key :?> ECDsa)

    let issuerName =
        issuer |> Option.map _.Certificate.SubjectName |> Option.defaultValue subject

    let now = DateTimeOffset.UtcNow

    {
        Key = key
        Certificate =
            request.Create(issuerName, generator, now.AddDays -1.0, now.AddDays 20.0, RandomNumberGenerator.GetBytes 12)
    }

/// Writes the certificate, the others behind it, and the key.
let private put (files: Scratch) (leaf: Issued) (others: Issued list) =
    let key = leaf.Key.ExportPkcs8PrivateKeyPem()
    Secrets.addKey key
    files.Write("tls.key", key) |> ignore
    let chain = String.Join('\n', leaf.Pem :: (others |> List.map _.Pem))
    files.Write("tls.crt", chain) |> ignore

let private filesOf (files: Scratch) =
    [
        $"""--server_tls_cert_file={files.File "tls.crt"}"""
        $"""--server_tls_key_file={files.File "tls.key"}"""
    ]

/// What a new connection gets: the certificate, and those that come with it, in this order.
let private served (port: int) =
    task {
        let mutable received = []
        use client = new TcpClient("127.0.0.1", port)

        let verify (chain: X509Chain | null) =
            received <- [ for one in (nonNull chain).ChainPolicy.ExtraStore -> one.Thumbprint ]
            true

        use stream =
            new SslStream(client.GetStream(), false, (fun _ _ chain _ -> verify chain))

        do! stream.AuthenticateAsClientAsync "localhost"
        return received
    }

/// Keys that OpenSSL rejects at its usual security level, as the certificate's and as its issuer's.
let private weak () =
    let root = certify "root" true (ec ()) None
    let feeble = certify "feeble" true (rsa 1024) (Some root)

    [
        "a key of 1024 bits", certify "weak" false (rsa 1024) None, []
        "an intermediate with a key of 1024 bits", certify "leaf" false (ec ()) (Some feeble), [ feeble ]
    ]

let private rejection = "the TLS library rejects it: "

[<Tests>]
let pairs =
    testList
        "server certificates"
        [
            for index, what in [ 0, "a key"; 1, "an intermediate" ] do
                case $"{what} that the TLS library does not accept ends the start with exit code 2" (fun () ->
                    task {
                        let _, leaf, others = (weak ())[index]
                        use files = new Scratch()
                        put files leaf others

                        let! code, _, errors =
                            KedgeProgram.RunToEnd(
                                [
                                    "--kedge_config_director_config={}"
                                    "--kedge_config_backendpool_config={}"
                                    "--server_http_port=0"
                                ]
                                @ filesOf files
                            )

                        let text = String.Join('\n', errors)
                        Expect.equal code 2 "exit code"
                        Expect.stringContains text (files.File "tls.crt") "the file"
                        Expect.stringContains text rejection "the reason"
                        Expect.stringContains text "too small" "the library's own words"
                    })

                case
                    $"{what} that the TLS library does not accept is rejected at a reload; the old pair serves"
                    (fun () ->
                        task {
                            let _, leaf, others = (weak ())[index]
                            use files = new Scratch()
                            let good = certify "good" false (ec ()) None
                            put files good []
                            use! kedge = Kedge.Start("{}", "{}", filesOf files)
                            put files leaf others
                            kedge.Program.Signal PosixSignal.SIGHUP
                            do! eventually "the rejection" (fun () -> kedge.Program.Output.Contains rejection)
                            let! received = served kedge.HttpsPort
                            Expect.equal received [ good.Certificate.Thumbprint ] "the old one"
                            let! rejected = DebugPort.metric kedge "kedge_certificate_reload_failures_total" []
                            Expect.equal rejected 1.0 "counted"
                        })

            case "every certificate of the file is sent, also where this machine trusts an issuer on the way" (fun () ->
                task {
                    // A root that is signed by another one as well, which is what clients with old trust stores know.
                    let old = certify "old root" true (ec ()) None
                    let key = ec ()
                    let trusted = certify "new root" true key None
                    let crossed = certify "new root" true key (Some old)
                    let intermediate = certify "intermediate" true (ec ()) (Some trusted)
                    let leaf = certify "leaf" false (ec ()) (Some intermediate)

                    let expected =
                        [ for one in [ leaf; intermediate; crossed ] -> one.Certificate.Thumbprint ]

                    use files = new Scratch()

                    // In the wrong order, too: each must certify the previous one.
                    for others in [ [ intermediate; crossed ]; [ crossed; intermediate ] ] do
                        put files leaf others

                        use! kedge =
                            Kedge.Start
                                { Kedge.Defaults with
                                    Flags = filesOf files
                                    Environment = [ "SSL_CERT_FILE", files.Write("trusted.pem", trusted.Pem) ]
                                }

                        let! received = served kedge.HttpsPort
                        Expect.equal received expected "sent"
                })
        ]

let private counted (kedge: Kedge) (listener: string) (reason: string) (count: int) =
    soon
        patience
        $"{count} failures: {reason} on {listener}"
        (fun () ->
            DebugPort.metric kedge "kedge_tls_handshake_failures_total" [ "listener", listener; "reason", reason ])
        (fun seen -> seen = float count)

/// The log's lines of failed handshakes.
let private lines (kedge: Kedge) =
    [
        for line in kedge.Program.Stderr do
            if line.Contains "TLS handshake failed" then
                string (JsonDocument.Parse(line).RootElement.GetProperty("message").GetString())
    ]

/// As the server sees it.
let private addressOf (client: TcpClient) =
    match client.Client.LocalEndPoint with
    | :? IPEndPoint as local -> $"127.0.0.1:{local.Port}"
    | other -> string other

/// Opens a connection and sends these bytes as they are.
let private tcp (port: int) (bytes: string) =
    task {
        use client = new TcpClient()
        do! client.ConnectAsync(IPAddress.Loopback, port)
        let from = addressOf client

        if bytes <> "" then
            do! RawPeer.Write(client.GetStream(), bytes)
            let! _ = within "the end of the connection" (RawPeer.ReadToEnd(client.GetStream()))
            ()

        return from
    }

/// Fails on the client's or on the server's side.
let private connect (port: int) (options: SslClientAuthenticationOptions) =
    task {
        use client = new TcpClient()
        do! client.ConnectAsync(IPAddress.Loopback, port)
        let from = addressOf client
        use stream = new SslStream(client.GetStream())

        try
            do! stream.AuthenticateAsClientAsync options
            // In TLS 1.3 the server decides after the client's handshake.
            let! _ = RawPeer.ReadToEnd stream
            ()
        with
        | :? AuthenticationException
        | :? IOException -> ()

        return from
    }

/// A client that says why it does not accept the certificate.
let private distrust (port: int) =
    task {
        let! _ =
            Shell.runIn
                (Path.GetTempPath())
                []
                $"openssl s_client -connect 127.0.0.1:{port} -CAfile {Certificates.stranger.Value.File} -verify_return_error"

        return "127.0.0.1:"
    }

let private options () =
    SslClientAuthenticationOptions(
        TargetHost = "localhost",
        ApplicationProtocols = Collections.Generic.List [ SslApplicationProtocol.Http2 ],
        RemoteCertificateValidationCallback = (fun _ _ _ _ -> true)
    )

let private demanding (flags: string list) =
    Kedge.Start("{}", "{}", $"--server_tls_client_ca_files={Certificates.authority.Value.File}" :: flags)

[<Tests>]
let failures =
    testList
        "failed handshakes"
        [
            for listener, portOf in
                [
                    "http_tls", (fun (kedge: Kedge) -> kedge.HttpsPort)
                    "grpc_tls", (fun (kedge: Kedge) -> kedge.GrpcPort)
                ] do
                case $"are counted and logged with the peer's address and the reason: {listener}" (fun () ->
                    task {
                        use! kedge = demanding [ "--server_header_timeout=2s" ]
                        let port = portOf kedge

                        let presenting (identity: Identity) =
                            let options = options ()

                            options.ClientCertificates <-
                                X509CertificateCollection([| identity.Certificate :> X509Certificate |])

                            options

                        let foreign = options ()
                        foreign.ApplicationProtocols <- Collections.Generic.List [ SslApplicationProtocol "spdy/1" ]
                        let stranger = Certificates.stranger.Value.Client "stranger"
                        let mutable total = 0

                        for reason, words, fail in
                            [
                                "no_client_certificate", "sent no certificate", (fun () -> connect port (options ()))
                                "client_certificate", "PartialChain", (fun () -> connect port (presenting stranger))
                                "not_tls", "", (fun () -> tcp port "GET / HTTP/1.1\r\nHost: alpha.example\r\n\r\n")
                                "protocol", "", (fun () -> connect port foreign)
                                "alert", "alert", (fun () -> distrust port)
                                "timeout", "not finished in time", (fun () -> tcp port "\u0016\u0003\u0001")
                            ] do
                            let peers = ResizeArray<string>()

                            // There is one line a second at most.
                            let isLogged () =
                                lines kedge
                                |> List.exists (fun line ->
                                    line.Contains $"on {listener}: "
                                    && line.Contains $", {reason}: "
                                    && line.Contains words
                                    && peers.Exists(fun peer -> line.Contains $"peer {peer}"))

                            while not (isLogged ()) do
                                let! peer = fail ()
                                peers.Add peer
                                do! counted kedge listener reason peers.Count

                                if peers.Count > 1_000 then
                                    failtestf "no line for %s: %A" reason (lines kedge)

                            total <- total + peers.Count

                        let! peer = tcp port ""
                        do! counted kedge listener "closed" 1

                        Expect.isFalse
                            (lines kedge |> List.exists _.Contains(peer))
                            "who only looks whether the port is open gets no line"

                        // A handshake that succeeds is not counted.
                        use! good =
                            RawClient.Connect(
                                port,
                                Some Certificates.client.Value.Certificate,
                                [ SslApplicationProtocol.Http2 ]
                            )

                        Expect.isTrue good.Stream.IsAuthenticated "authenticated"
                        let! samples = DebugPort.samples kedge

                        let counted =
                            samples
                            |> List.filter (fun sample -> sample.Name = "kedge_tls_handshake_failures_total")
                            |> List.sumBy _.Value

                        Expect.equal counted (float (total + 1)) "failures in all"
                    })

            case "records in the wrong order are a failure like others, and no error of kedge" (fun () ->
                task {
                    use! kedge = demanding []
                    // An alert before everything else.
                    let! _ = tcp kedge.HttpsPort "\u0015\u0003\u0001\u0000\u0002\u0002\u002a"
                    do! counted kedge "http_tls" "protocol" 1
                    do! eventually "a line" (fun () -> not (lines kedge).IsEmpty)
                    Expect.isFalse (kedge.Program.Output.Contains "Unhandled exception") "no error"
                })

            case "a crowd of them is counted one by one, and logged once a second" (fun () ->
                task {
                    use! kedge = demanding []

                    let! _ =
                        Task.WhenAll [ for _ in 1..200 -> tcp kedge.HttpsPort "GET / HTTP/1.1\r\n\r\n" ]

                    do! counted kedge "http_tls" "not_tls" 200
                    Expect.isLessThan (lines kedge).Length 20 "lines"

                    do!
                        soon
                            patience
                            "the number of those without a line"
                            (fun () ->
                                task {
                                    let! _ = tcp kedge.HttpsPort "GET / HTTP/1.1\r\n\r\n"
                                    return lines kedge
                                })
                            (List.exists (fun line -> not (line.Contains "; 0 more since the last line")))
                })
        ]

[<Tests>]
let resumption =
    testList
        "TLS resumption"
        [
            for version in [ "tls1_2"; "tls1_3" ] do
                case
                    $"a client whose certificate needs an intermediate is accepted again and again: {version}"
                    (fun () ->
                        task {
                            use files = new Scratch()
                            let root = certify "root" true (ec ()) None
                            let intermediate = certify "intermediate" true (ec ()) (Some root)
                            let leaf = certify "client" false (ec ()) (Some intermediate)
                            let key = leaf.Key.ExportPkcs8PrivateKeyPem()
                            Secrets.addKey key

                            for name, content in
                                [
                                    "root.crt", root.Pem
                                    "chain.crt", intermediate.Pem
                                    "c.crt", leaf.Pem
                                    "c.key", key
                                ] do
                                files.Write(name, content) |> ignore

                            use! kedge =
                                serving
                                    "alpha"
                                    alpha.Value.Port
                                    [ $"""--server_tls_client_ca_files={files.File "root.crt"}""" ]

                            // Each connection offers the session of the previous one.
                            for number in 1..3 do
                                let session =
                                    if File.Exists(files.File "session") then
                                        "-sess_in session"
                                    else
                                        ""

                                let! outcome =
                                    Shell.runIn
                                        files.Path
                                        []
                                        ("printf 'GET /resumed HTTP/1.1\\r\\nHost: alpha.example\\r\\nConnection: close\\r\\n\\r\\n'"
                                         + $" | openssl s_client -connect 127.0.0.1:{kedge.HttpsPort} -{version} -ign_eof"
                                         + $" -cert c.crt -key c.key -cert_chain chain.crt {session} -sess_out session")

                                Expect.stringContains
                                    outcome.Output
                                    "HTTP/1.1 200 OK"
                                    $"connection {number}: {outcome.Errors}"
                        })
        ]

/// Requests of all codes and backends.
let private completed (kedge: Kedge) =
    task {
        let! samples = DebugPort.samples kedge

        return
            samples
            |> List.filter (fun sample -> sample.Name = "kedge_requests_total")
            |> List.sumBy _.Value
    }

[<Tests>]
let badRequests =
    testList
        "requests that the server rejects"
        [
            for status, what, request, reason, path in
                [
                    400,
                    "a header without a name",
                    "GET /secret?token=hidden HTTP/1.1\r\nHost: alpha.example\r\n: x\r\n\r\n",
                    "invalid request header",
                    "/secret"
                    400, "no HTTP at all", "hello hidden\r\n\r\n", "invalid request line", ""
                    505,
                    "an unknown version",
                    "GET /v HTTP/3.0\r\nHost: alpha.example\r\n\r\n",
                    "unrecognized HTTP version",
                    ""
                    414,
                    "a long request line",
                    "GET /" + String('x', 40_000) + " HTTP/1.1\r\nHost: alpha.example\r\n\r\n",
                    "request line too long",
                    ""
                    431,
                    "too many headers",
                    "GET /many HTTP/1.1\r\nHost: alpha.example\r\n"
                    + String.replicate 201 "X-A: b\r\n"
                    + "\r\n",
                    "request contains too many headers",
                    "/many"
                ] do
                case $"get kedge's headers, and are counted, recorded and logged: {what}" (fun () ->
                    task {
                        use! kedge = serving "alpha" alpha.Value.Port []
                        use! client = RawClient.Connect kedge.HttpsPort
                        do! client.Write request
                        let! answer = client.ReadToEnd()
                        Expect.stringStarts answer $"HTTP/1.1 {status} " "status"
                        Expect.stringContains answer "X-Kedge-Error-Type: bad-request\r\n" "type"
                        Expect.stringContains answer $"X-Kedge-Error: {reason}" "reason"
                        Expect.stringContains answer "X-Kedge-Request-ID: " "request ID"
                        Expect.isFalse (answer.Contains "hidden") "the request is not quoted"

                        do!
                            soon
                                patience
                                "counted"
                                (fun () -> DebugPort.metric kedge "kedge_proxy_errors_total" [ "type", "bad-request" ])
                                (fun count -> count = 1.0)

                        let! requests = completed kedge
                        Expect.equal requests 1.0 "requests"
                        do! eventually "a line" (fun () -> kedge.Program.Output.Contains "request failed: ")
                        Expect.stringContains kedge.Program.Output reason "the log's reason"
                        Expect.isFalse (kedge.Program.Output.Contains "hidden") "nor in the log"
                        let! page = DebugPort.json kedge "/debug/requests"
                        Expect.stringContains (string page) "bad-request" "the page"

                        if path <> "" then
                            Expect.stringContains kedge.Program.Output $"alpha.example{path}" "host and path"
                    })

            case "a request whose headers do not end gets 408 with kedge's headers" (fun () ->
                task {
                    use! kedge = serving "alpha" alpha.Value.Port [ "--server_header_timeout=3s" ]
                    use! client = RawClient.Connect kedge.HttpsPort
                    do! client.Write "GET /slow HTTP/1.1\r\nHost: alpha.example\r\n"
                    let! answer = client.ReadToEnd()
                    Expect.stringStarts answer "HTTP/1.1 408 " "status"
                    Expect.stringContains answer "X-Kedge-Error-Type: request-timeout\r\n" "type"
                })

            case "a malformed body, which kedge answers itself, is counted once" (fun () ->
                task {
                    use! kedge = serving "alpha" alpha.Value.Port []
                    use! client = RawClient.Connect kedge.HttpsPort

                    do!
                        client.Write
                            "POST / HTTP/1.1\r\nHost: alpha.example\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n"

                    let! answer = client.ReadToEnd()
                    Expect.stringStarts answer "HTTP/1.1 400 " "status"

                    do! soon patience "counted" (fun () -> completed kedge) (fun count -> count = 1.0)

                    let! errors =
                        DebugPort.metric kedge "kedge_proxy_errors_total" [ "type", "bad-request" ]

                    Expect.equal errors 1.0 "errors"
                })
        ]
