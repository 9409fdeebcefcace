/// Certificates that change while kedge runs, and that come to their end.
module Kedge.Tests.EndToEnd.CertificateTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Runtime.InteropServices
open System.Security.Cryptography.X509Certificates
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// Puts a copy of a file in another's place in one step.
let private swap (source: string) (target: string) =
    let copy = target + ".new"
    File.Copy(source, copy, true)
    File.Move(copy, target, true)

let private put (files: Scratch) (identity: Identity) =
    swap identity.KeyFile (files.File "tls.key")
    swap identity.CertFile (files.File "tls.crt")

let private start (files: Scratch) (flags: string list) =
    serving
        "alpha"
        alpha.Value.Port
        ($"""--server_tls_cert_file={files.File "tls.crt"}"""
         :: $"""--server_tls_key_file={files.File "tls.key"}"""
         :: flags)

let private serialOf (client: RawClient) =
    match client.Stream.RemoteCertificate with
    | :? X509Certificate2 as certificate -> certificate.SerialNumber
    | other -> (nonNull other).GetSerialNumberString()

/// The serial number of the certificate on a new connection.
let private served (kedge: Kedge) =
    task {
        use! client = RawClient.Connect kedge.HttpsPort
        return serialOf client
    }

let private request = "GET /load HTTP/1.1\r\nHost: alpha.example\r\n\r\n"

/// The status line of the answer to one more request on the connection.
let private answerOn (client: RawClient) =
    task {
        do! client.Write request
        let buffer = Array.zeroCreate<byte> 4096
        let mutable text = ""
        let mutable reading = true

        // The peer's bodies are chunked.
        while reading && not (text.EndsWith("\r\n0\r\n\r\n", StringComparison.Ordinal)) do
            let! count = within "an answer" (client.Stream.ReadAsync(buffer.AsMemory()).AsTask())
            text <- text + Text.Encoding.Latin1.GetString(buffer, 0, count)
            reading <- count > 0

        return text.Split('\r')[0]
    }

/// Whether a request on a new connection gets its answer.
let private isLetIn (kedge: Kedge) identity =
    task {
        use client = Clients.http1 kedge.HttpsPort (Some identity)

        try
            let! answer = get client "https://alpha.example/" []
            return answer.Status = 200
        with :? HttpRequestException ->
            return false
    }

let private wait (what: string) (condition: unit -> Task<bool>) =
    eventually what (fun () -> condition().GetAwaiter().GetResult())

let private logs (kedge: Kedge) (words: string list) =
    Array.append kedge.Program.Stdout kedge.Program.Stderr
    |> Array.exists (fun line -> words |> List.forall (fun word -> line.Contains(word, StringComparison.Ordinal)))

let private seconds (time: DateTime) = float (DateTimeOffset(time.ToUniversalTime()).ToUnixTimeSeconds())

[<Tests>]
let tests =
    testList
        "certificates"
        [
            case
                "the certificate is swapped during 2,000 new connections: no handshake fails, the new one is served"
                (fun () ->
                    task {
                        use files = new Scratch()
                        let authority = Certificates.authority.Value
                        let first, second = authority.Server(), authority.Server()
                        put files first
                        use! kedge = start files []
                        use! old = RawClient.Connect kedge.HttpsPort
                        let! answer = answerOn old
                        Expect.equal answer "HTTP/1.1 200 OK" "the old connection, before"

                        let count = ref 0
                        let swapped = ref false
                        let seen = ConcurrentDictionary<string, int>()
                        let failed = ConcurrentQueue<string>()

                        let connect () =
                            task {
                                try
                                    use! client = RawClient.Connect kedge.HttpsPort
                                    seen.AddOrUpdate(serialOf client, 1, (fun _ n -> n + 1)) |> ignore
                                    let! answer = answerOn client

                                    if answer <> "HTTP/1.1 200 OK" then
                                        failed.Enqueue answer
                                with error ->
                                    failed.Enqueue error.Message
                            }

                        let worker () =
                            task {
                                // On until the new certificate has been in use for a while, but not for ever.
                                let deadline = DateTime.UtcNow + patience

                                while count.Value < 2_000 || (not swapped.Value && DateTime.UtcNow < deadline) do
                                    do! connect ()

                                    if Interlocked.Increment count = 500 then
                                        put files second
                                        kedge.Program.Signal PosixSignal.SIGHUP

                                    if seen.ContainsKey second.Certificate.SerialNumber then
                                        swapped.Value <- true
                            }

                        let! _ = Task.WhenAll [ for _ in 1..8 -> Task.Run<unit> worker ]
                        Expect.isEmpty (Seq.truncate 5 failed) "failed connections"
                        Expect.isGreaterThanOrEqual count.Value 2_000 "connections"

                        Expect.equal
                            (set seen.Keys)
                            (set [ first.Certificate.SerialNumber; second.Certificate.SerialNumber ])
                            "both were served, and no other"

                        let! serial = served kedge
                        Expect.equal serial second.Certificate.SerialNumber "afterwards"
                        let! answer = answerOn old
                        Expect.equal answer "HTTP/1.1 200 OK" "the old connection goes on"
                    })

            case "a broken file keeps the old certificate, and the log says so" (fun () ->
                task {
                    use files = new Scratch()
                    let first = Certificates.authority.Value.Server()
                    put files first
                    use! kedge = start files []
                    let other = Certificates.authority.Value.Server()

                    for file, content, words in
                        [
                            "tls.crt", "no certificate", "contains no PEM certificate"
                            "tls.key", File.ReadAllText other.KeyFile, "is not the key of the certificate"
                        ] do
                        put files first
                        File.WriteAllText(files.File file, content)
                        kedge.Program.Signal PosixSignal.SIGHUP
                        do! eventually words (fun () -> logs kedge [ "rejected"; files.File file; words ])
                        let! serial = served kedge
                        Expect.equal serial first.Certificate.SerialNumber words

                    put files other

                    do!
                        wait "a good pair" (fun () ->
                            task {
                                let! serial = served kedge
                                return serial = other.Certificate.SerialNumber
                            })
                })

            case
                "a changed bundle of client CAs: clients of the new CA come in, those of the one that went do not"
                (fun () ->
                    task {
                        use files = new Scratch()
                        let authority, stranger = Certificates.authority.Value, Certificates.stranger.Value
                        put files (authority.Server())
                        let bundle = files.File "clients.pem"
                        swap authority.File bundle
                        use! kedge = start files [ $"--server_tls_client_ca_files={bundle}" ]
                        let ours, theirs = Certificates.client.Value, stranger.Client "visitor"

                        let expect ourState theirState what =
                            task {
                                do!
                                    wait what (fun () ->
                                        task {
                                            let! their = isLetIn kedge theirs
                                            let! our = isLetIn kedge ours
                                            return (our, their) = (ourState, theirState)
                                        })
                            }

                        do! expect true false "ours alone"

                        let both =
                            files.Write(
                                "both.pem",
                                File.ReadAllText authority.File + "\n" + File.ReadAllText stranger.File
                            )

                        swap both bundle
                        do! expect true true "both"
                        File.WriteAllText(bundle, "nobody")
                        kedge.Program.Signal PosixSignal.SIGHUP
                        do! eventually "the refusal" (fun () -> logs kedge [ "rejected"; bundle ])
                        do! expect true true "still both"
                        swap stranger.File bundle
                        do! expect false true "theirs alone"
                    })

            case "the ends of certificates are metrics, and 14 days ahead a warning" (fun () ->
                task {
                    use files = new Scratch()
                    let authority = Certificates.authority.Value
                    let short, long = authority.ServerUntil 13.5, authority.ServerUntil 14.5
                    let ending = CertificateAuthority(files, "ending-ca", 3.5)
                    put files short
                    let bundle = files.File "clients.pem"
                    swap authority.File bundle

                    use! kedge =
                        start
                            files
                            [
                                $"--server_tls_client_ca_files={bundle}"
                                "--server_tls_client_cert_required=false"
                            ]

                    let expiryInUse () =
                        DebugPort.metric
                            kedge
                            "kedge_certificate_expiry_timestamp_seconds"
                            [ "certificate", "default" ]

                    let! expiry = expiryInUse ()
                    Expect.equal expiry (seconds short.Certificate.NotAfter) "of the server's certificate"

                    do!
                        eventually "a warning" (fun () ->
                            logs kedge [ "server certificate CN=server expires in 13 days" ])

                    let warnings () =
                        kedge.Program.Output.Split('\n')
                        |> Array.filter _.Contains("expires in")
                        |> Array.length

                    Expect.equal (warnings ()) 1 "once, and none of the CA"

                    put files long

                    do!
                        wait "the other certificate" (fun () ->
                            task {
                                let! expiry = expiryInUse ()
                                return expiry = seconds long.Certificate.NotAfter
                            })

                    swap ending.File bundle

                    do!
                        eventually "a warning of the CA" (fun () ->
                            logs kedge [ "client CA CN=ending-ca expires in 3 days" ])

                    Expect.equal (warnings ()) 2 "none of the certificate with more than 14 days"
                    let! expiry = DebugPort.metric kedge "kedge_client_ca_expiry_timestamp_seconds" []
                    Expect.equal expiry (seconds ending.Certificate.NotAfter) "of the CA"
                })
        ]
