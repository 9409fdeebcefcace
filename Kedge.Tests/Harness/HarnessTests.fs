module Kedge.Tests.HarnessTests

open System
open System.Net
open System.Net.Http
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Peers
open Microsoft.AspNetCore.Server.Kestrel.Core

/// The peers without kedge between them: when an end-to-end test fails, these say whether the fault is the harness's.
[<Tests>]
let tests =
    testList
        "harness"
        [
            case "a secret is found wherever it stands, a word that looks like one is not" (fun () ->
                task {
                    use scratch = new Scratch()
                    let identity = CertificateAuthority(scratch, "searched-ca").Client "searched"
                    Secrets.addToken "header-of-all.claims-of-one-caller.signature-of-one-caller"

                    for told in
                        [
                            "a line\nwith signature-of-one-caller in it"
                            "claims-of-one-caller"
                            System.IO.File.ReadAllText identity.KeyFile
                            (System.IO.File.ReadAllLines identity.KeyFile)[2]
                        ] do
                        Expect.isTrue (Secrets.isIn told) told

                    for innocent in [ ""; "header-of-all"; System.IO.File.ReadAllText identity.CertFile ] do
                        Expect.isFalse (Secrets.isIn innocent) innocent
                })

            case "what a kedge printed is searched when it is disposed of" (fun () ->
                task {
                    let before = Secrets.total ()
                    let program = new KedgeProgram([ "--version" ])
                    let! _ = program.Exit()
                    (program :> System.IDisposable).Dispose()
                    Expect.isGreaterThanOrEqual (Secrets.total () - before) (int64 program.Output.Length) "characters"
                    Expect.isNotEmpty program.Output "something was said"
                })

            case "a client and a TLS peer exchange a request over HTTP/1.1 and HTTP/2" (fun () ->
                task {
                    use peer =
                        new HttpPeer("direct", HttpProtocols.Http1AndHttp2, Some Certificates.server.Value)

                    for client in
                        [
                            Clients.http1 peer.Port (Some Certificates.client.Value)
                            Clients.http2 peer.Port (Some Certificates.client.Value)
                        ] do
                        use client = client

                        use! response =
                            client.PostAsync("https://any.example/x?y=1", new StringContent "body")

                        let! text = response.Content.ReadAsStringAsync()
                        Expect.equal response.StatusCode HttpStatusCode.OK "status"
                        Expect.equal text "direct" "body"

                    let requests = peer.ReceivedOn "/x"
                    Expect.equal (requests |> Array.map _.Protocol) [| "HTTP/1.1"; "HTTP/2" |] "protocols"

                    for request in requests do
                        Expect.equal request.RawTarget "/x?y=1" "target"
                        Expect.equal (request.Header "host") "any.example" "host"
                        Expect.equal request.BodyLength 4L "length"
                        Expect.equal request.ClientCertificate "CN=client" "client certificate"
                })

            case "a client refuses a server of another CA" (fun () ->
                task {
                    use peer =
                        new HttpPeer("foreign", HttpProtocols.Http1, Some(Certificates.stranger.Value.Server()))

                    use client = Clients.http1 peer.Port None

                    let! _ =
                        failure<HttpRequestException> "trusting a stranger" (fun () ->
                            client.GetAsync "https://any.example/")

                    ()
                })

            case "a gRPC client and the echo peer exchange a call" (fun () ->
                task {
                    use peer = new GrpcPeer("direct", Some Certificates.server.Value)
                    use channel = Clients.grpc peer.Port None "any.example:443"
                    let! reply = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "hi"))
                    Expect.equal (reply.Text, reply.Backend) ("hi", "direct") "reply"
                    Expect.equal (Array.length peer.Calls) 1 "calls"
                })

            case "an absence is shown by time, and fails as soon as the thing happens" (fun () ->
                task {
                    let asked = ref 0

                    let happensAt (number: int) () =
                        task {
                            asked.Value <- asked.Value + 1
                            return asked.Value = number
                        }

                    do! Absence.during (TimeSpan.FromMilliseconds 200.0) "nothing" (happensAt 0)
                    Expect.isGreaterThan asked.Value 1 "it asked again and again"
                    asked.Value <- 0

                    let! _ =
                        failure<AssertException> "it happens" (fun () ->
                            Absence.during Absence.longest "a third question" (happensAt 3))

                    Expect.equal asked.Value 3 "and no longer"

                    let! _ =
                        failure<ArgumentException> "too long a time" (fun () ->
                            Absence.during (Absence.longest + TimeSpan.FromMilliseconds 1.0) "nothing" (happensAt 0))

                    ()
                })

            case "the DNS server starts, serves other records after a restart, and stops" (fun () ->
                task {
                    use dns = new Dns 1
                    do! dns.Serve [ Address("a.test", "127.0.0.1") ]
                    do! dns.Serve [ Address("a.test", "127.0.0.2"); Service("_x._tcp.test", "a.test", 1, 1, 1) ]
                    dns.Stop()
                })
        ]
