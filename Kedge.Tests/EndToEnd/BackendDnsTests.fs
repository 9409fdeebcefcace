module Kedge.Tests.EndToEnd.BackendDnsTests

open System
open System.Diagnostics
open System.Net
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.BackendStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private srvBackend (portOverride: string) =
    $$"""{ "name": "many", "srv": { "dns_name": "_http._tcp.test"{{portOverride}} } }"""

let private startSrv (dns: Dns) (portOverride: string) =
    let backend = srvBackend portOverride
    startMany dns backend backend []

/// A DNS server of one answer: every name has the address 127.0.0.1 with a TTL of 0. Counts the questions.
type private ZeroTtlDns() =
    let socket = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0))

    let mutable questions = 0

    let serve: Task =
        task {
            try
                while true do
                    let! question = socket.ReceiveAsync()
                    Interlocked.Increment &questions |> ignore
                    let message = question.Buffer
                    // The name ends with a zero byte; behind it stand type and class.
                    let nameEnd = Array.IndexOf(message, 0uy, 12)
                    let isA = message[nameEnd + 2] = 1uy
                    let head = Array.sub message 0 (nameEnd + 5)
                    head[2] <- 0x85uy
                    head[3] <- 0x80uy
                    // One question, one answer or none, nothing else.
                    for at in 6..11 do
                        head[at] <- 0uy

                    head[7] <- if isA then 1uy else 0uy

                    let answer =
                        [|
                            0xC0uy
                            12uy
                            0uy
                            1uy
                            0uy
                            1uy
                            0uy
                            0uy
                            0uy
                            0uy
                            0uy
                            4uy
                            127uy
                            0uy
                            0uy
                            1uy
                        |]

                    let reply = if isA then Array.append head answer else head
                    let! _ = socket.SendAsync(reply, reply.Length, question.RemoteEndPoint)
                    ()
            with
            | :? SocketException
            | :? ObjectDisposedException -> ()
        }

    member _.Port = (nonNull socket.Client.LocalEndPoint :?> IPEndPoint).Port
    member _.Questions = Volatile.Read &questions

    interface IDisposable with
        member _.Dispose() =
            socket.Dispose()
            serve.Wait()

[<Tests>]
let resolvers =
    testList
        "backend resolvers"
        [
            case "SRV: the lowest priority is used by weight; the next one when it is gone" (fun () ->
                task {
                    use heavy = new HttpPeer "heavy"
                    use light = new HttpPeer "light"
                    use spare = new HttpPeer "spare"
                    use dns = new Dns 60

                    do!
                        dns.Serve
                            [
                                for name in [ "a.test"; "b.test"; "c.test" ] do
                                    Address(name, "127.0.0.1")
                                Service("_http._tcp.test", "a.test", heavy.Port, 10, 30)
                                Service("_http._tcp.test", "b.test", light.Port, 10, 10)
                                Service("_http._tcp.test", "c.test", spare.Port, 20, 10)
                            ]

                    use! kedge = startSrv dns ""
                    use client = Clients.http1 kedge.HttpsPort None
                    let! answers = bodies client 40
                    Expect.equal (List.countBy id answers |> List.sort) [ "heavy", 30; "light", 10 ] "by weight"
                    (heavy :> IDisposable).Dispose()
                    (light :> IDisposable).Dispose()
                    let! answers = bodies client 10
                    Expect.equal (List.countBy id answers) [ "spare", 10 ] "the spare"
                })

            case "SRV: port_override takes the place of the records' ports" (fun () ->
                task {
                    use peer = new HttpPeer "peer"
                    use dns = new Dns 60

                    do!
                        dns.Serve
                            [
                                Address("a.test", "127.0.0.1")
                                Service("_http._tcp.test", "a.test", 1, 0, 0)
                            ]

                    use! kedge = startSrv dns $", \"port_override\": {peer.Port}"
                    use client = Clients.http1 kedge.HttpsPort None
                    let! answers = bodies client 1
                    Expect.equal answers [ "peer" ] "answer"
                })

            case
                "SRV: a changed record is in use within its TTL and a second; without the DNS server traffic goes on"
                (fun () ->
                    task {
                        use before = new HttpPeer "before"
                        use after = new HttpPeer "after"
                        let ttl = 2
                        use dns = new Dns(ttl)

                        let serve (peer: HttpPeer) =
                            dns.Serve
                                [
                                    Address("a.test", "127.0.0.1")
                                    Service("_http._tcp.test", "a.test", peer.Port, 0, 0)
                                ]

                        do! serve before
                        use! kedge = startSrv dns ""
                        use client = Clients.http1 kedge.HttpsPort None
                        let! answers = bodies client 1
                        Expect.equal answers [ "before" ] "at first"
                        do! serve after
                        let next () = bodies client 1
                        do! soon (TimeSpan.FromSeconds(float ttl + 1.0)) "the new record" next ((=) [ "after" ])
                        dns.Stop()

                        // Two lifetimes of the record.
                        do!
                            Absence.during (TimeSpan.FromSeconds(float ttl * 2.0)) "another answer" (fun () ->
                                task {
                                    let! answers = next ()
                                    return answers <> [ "after" ]
                                })
                    })

            case "a TTL of 0 does not make a storm of lookups, and requests make none" (fun () ->
                task {
                    use peer = new HttpPeer "peer"
                    use dns = new ZeroTtlDns()

                    use! kedge =
                        Kedge.Start(
                            Json.director [ Json.httpRoute "zero" "many.example" ] [],
                            Json.pool
                                [
                                    $$"""{ "name": "zero", "host": { "dns_name": "zero.test.", "port": {{peer.Port}} } }"""
                                ]
                                [],
                            [ $"--dns_nameservers=127.0.0.1:{dns.Port}" ]
                        )

                    use client = Clients.http2 kedge.HttpsPort None
                    let before = dns.Questions
                    let mutable requests = 0

                    // A and AAAA, once a second.
                    do!
                        Absence.during (TimeSpan.FromSeconds 3.0) "more than 10 questions" (fun () ->
                            task {
                                let! answers = bodies client 1
                                Expect.equal answers [ "peer" ] "answer"
                                requests <- requests + 1
                                return dns.Questions - before > 10
                            })

                    Expect.isGreaterThan requests 20 "enough requests to tell"
                    do! eventually "it is looked up again" (fun () -> dns.Questions - before > 1)
                })

            case "log_backend_resolution_on_addition logs the endpoints of a new backend" (fun () ->
                task {
                    use! dns = dnsOf 60 [ "127.0.0.2"; "127.0.0.3" ]
                    use! kedge = startHttp dns 8000 "" [ "--log_backend_resolution_on_addition" ]

                    do!
                        eventually "the log line" (fun () ->
                            kedge.Program.Output.Contains "127.0.0.2:8000"
                            && kedge.Program.Output.Contains "127.0.0.3:8000")
                })
        ]

[<Tests>]
let command =
    testList
        "kedge resolve"
        [
            case "--once prints the endpoints of a backend of the configuration and ends" (fun () ->
                task {
                    use dns = new Dns 60

                    do!
                        dns.Serve
                            [
                                Address("a.test", "127.0.0.2")
                                Service("_http._tcp.test", "a.test", 8000, 10, 5)
                            ]

                    use program =
                        new KedgeProgram(
                            [
                                "resolve"
                                "many"
                                "--once"
                                $"--dns_nameservers=127.0.0.1:{dns.Port}"
                                "--kedge_config_backendpool_config=" + Json.pool [ srvBackend "" ] []
                            ]
                        )

                    let! code = program.Exit()
                    Expect.equal (code, program.Stderr) (0, [||]) program.Output

                    Expect.equal
                        program.Stdout
                        [|
                            "many (HTTP): 1 endpoint"
                            "  127.0.0.2:8000  priority 10 weight 5  a.test"
                        |]
                        "output"
                })

            case "it follows changes of a target until it is interrupted" (fun () ->
                task {
                    use! dns = dnsOf 1 [ "127.0.0.2" ]

                    use program =
                        new KedgeProgram([ "resolve"; "many.test:81"; $"--dns_nameservers=127.0.0.1:{dns.Port}" ])

                    let prints (text: string) =
                        eventually text (fun () -> program.Stdout |> Array.exists (fun line -> line.Contains text))

                    do! prints "127.0.0.2:81"
                    do! dns.Serve [ Address("many.test", "127.0.0.3"); Address("many.test", "127.0.0.4") ]
                    do! prints "127.0.0.3:81"
                    do! prints ": 2 endpoints"
                    program.Signal PosixSignal.SIGINT
                    let! code = program.Exit()
                    Expect.equal code 0 program.Output
                })

            case "a name that does not exist, and a word that is no target" (fun () ->
                task {
                    use! dns = dnsOf 60 []

                    use absent =
                        new KedgeProgram(
                            [
                                "resolve"
                                "nobody.test:80"
                                "--once"
                                $"--dns_nameservers=127.0.0.1:{dns.Port}"
                            ]
                        )

                    let! code = absent.Exit()
                    Expect.equal code 1 absent.Output
                    Expect.stringContains (String.Join('\n', absent.Stderr)) "nobody.test" "it is named"

                    for arguments in [ [ "resolve"; "nonsense" ]; [ "resolve" ] ] do
                        use refused = new KedgeProgram(arguments)
                        let! code = refused.Exit()
                        Expect.equal (code, refused.Stderr.Length) (2, 1) refused.Output
                })
        ]
