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

/// A kedge with one HTTP backend `many`, at `many.example`.
let private startAt (dns: RawDns) (backend: string) (flags: string list) =
    Kedge.Start(
        Json.director [ Json.httpRoute "many" "many.example" ] [],
        Json.pool [ backend ] [],
        $"--dns_nameservers=127.0.0.1:{dns.Port}" :: flags
    )

/// What the status page has about the backend's last lookup.
let private lastError (kedge: Kedge) =
    task {
        let! status = DebugPort.json kedge "/debug/status"
        return status.ToString()
    }

let private isUnresolved (answer: Response) =
    (answer.Status, answer.Header "X-Kedge-Error-Type") = (503, "no-resolution-available")

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
                    use dns = new RawDns(fun _ -> Addresses(0, [ "127.0.0.1" ]))

                    use! kedge =
                        startAt
                            dns
                            $$"""{ "name": "many", "host": { "dns_name": "zero.test.", "port": {{peer.Port}} } }"""
                            []

                    use client = Clients.http2 kedge.HttpsPort None
                    let before = dns.Questions.Length
                    let mutable requests = 0

                    // A and AAAA, once a second.
                    do!
                        Absence.during (TimeSpan.FromSeconds 3.0) "more than 10 questions" (fun () ->
                            task {
                                let! answers = bodies client 1
                                Expect.equal answers [ "peer" ] "answer"
                                requests <- requests + 1
                                return dns.Questions.Length - before > 10
                            })

                    Expect.isGreaterThan requests 20 "enough requests to tell"
                    do! eventually "it is looked up again" (fun () -> dns.Questions.Length - before > 1)
                })

            case "SRV: the target `.` takes the endpoints away at once, and another answer brings them back" (fun () ->
                task {
                    use peer = new HttpPeer "peer"

                    let up (name: string) =
                        if name.StartsWith '_' then
                            Services(1, [ peer.Port, "a.test" ])
                        else
                            Addresses(1, [ "127.0.0.1" ])

                    let down (name: string) =
                        if name.StartsWith '_' then
                            Services(1, [ 0, "." ])
                        else
                            up name

                    use dns = new RawDns(up)
                    use! kedge = startAt dns (srvBackend "") []
                    use client = Clients.http1 kedge.HttpsPort None
                    let next () = get client "https://many.example/" []
                    let! answer = next ()
                    Expect.equal answer.Body "peer" "at first"
                    dns.Answers down
                    do! soon (TimeSpan.FromSeconds 10.0) "no endpoint" next isUnresolved

                    do! soon patience "the reason" (fun () -> lastError kedge) _.Contains("not available")

                    dns.Answers up
                    do! soon (TimeSpan.FromSeconds 20.0) "the endpoint again" next (fun answer -> answer.Body = "peer")
                })

            case "SRV: a record with port 0 is an error that names it; other targets are used" (fun () ->
                task {
                    use peer = new HttpPeer "peer"

                    let records (services: (int * string) list) (name: string) =
                        if name.StartsWith '_' then
                            Services(1, services)
                        else
                            Addresses(1, [ "127.0.0.1" ])

                    use dns = new RawDns(records [ 0, "a.test" ])
                    use! kedge = startAt dns (srvBackend "") []
                    use client = Clients.http1 kedge.HttpsPort None
                    let next () = get client "https://many.example/" []
                    let! answer = next ()
                    Expect.isTrue (isUnresolved answer) $"{answer.Status}"

                    do! soon patience "the reason" (fun () -> lastError kedge) _.Contains("a.test has port 0")

                    dns.Answers(records [ 0, "a.test"; peer.Port, "b.test" ])
                    do! soon (TimeSpan.FromSeconds 20.0) "the other target" next (fun answer -> answer.Body = "peer")
                })

            case
                "a name that no longer exists loses its endpoints after the grace; a server that fails does not matter"
                (fun () ->
                    task {
                        use peer = new HttpPeer "peer"
                        let up _ = Addresses(1, [ "127.0.0.1" ])
                        use dns = new RawDns(up)

                        use! kedge =
                            startAt
                                dns
                                $$"""{ "name": "many", "host": { "dns_name": "gone.test.", "port": {{peer.Port}} } }"""
                                [ "--dns_absence_grace=2s" ]

                        use client = Clients.http1 kedge.HttpsPort None
                        let next () = get client "https://many.example/" []

                        dns.Answers(fun _ -> Failure 2)
                        let before = dns.Questions.Length

                        do!
                            Absence.during (TimeSpan.FromSeconds 3.0) "another answer" (fun () ->
                                task {
                                    let! answer = next ()
                                    return answer.Body <> "peer"
                                })

                        Expect.isGreaterThan dns.Questions.Length before "it was asked"
                        dns.Answers(fun _ -> Failure 3)
                        do! soon (TimeSpan.FromSeconds 60.0) "no endpoint" next isUnresolved
                        dns.Answers up

                        do!
                            soon (TimeSpan.FromSeconds 60.0) "the endpoint again" next (fun answer ->
                                answer.Body = "peer")
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
