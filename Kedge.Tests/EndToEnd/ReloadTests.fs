module Kedge.Tests.EndToEnd.ReloadTests

open System.IO
open System.Net.Security
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Security.Cryptography.X509Certificates
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private errors (kedge: Kedge) =
    task {
        let! status = DebugPort.json kedge "/debug/status"

        return
            [
                for error in status.GetProperty("configuration_errors").EnumerateArray() -> string (error.GetString())
            ]
    }

let private wait (what: string) (condition: unit -> Task<bool>) =
    eventually what (fun () -> condition().GetAwaiter().GetResult())

module private Posix =
    [<DllImport "libc">]
    extern int rename(string source, string target)

/// What the host's route leads to.
let private backendOf (kedge: Kedge) (host: string) =
    task {
        use client = Clients.http2 kedge.HttpsPort None
        let! answer = get client $"https://{host}/" []
        return answer.Header "X-Kedge-Backend-Name"
    }

let private generation (peer: HttpPeer) number =
    Json.director [ Json.httpRoute $"gen{number}" "shift.example" ] [],
    Json.pool [ Json.backend $"gen{number}" peer.Port ] []

/// The subject's serial number of the certificate that a new connection gets.
let private serial (kedge: Kedge) =
    use client = new TcpClient("127.0.0.1", kedge.HttpsPort)
    use tls = new SslStream(client.GetStream(), false, (fun _ _ _ _ -> true))
    tls.AuthenticateAsClient "localhost"
    (nonNull tls.RemoteCertificate).GetSerialNumberString()

[<Tests>]
let tests =
    testList
        "reload"
        [
            case "20 reloads during 20,000 requests on kept-alive connections: not one fails" (fun () ->
                task {
                    use peer = new HttpPeer "shifted"
                    let director, pool = generation peer 0
                    use! kedge = Kedge.Start(director, pool, [])
                    let reloading = ref true
                    let requests = ref 0
                    let seen = System.Collections.Concurrent.ConcurrentDictionary<string, int>()
                    let failed = System.Collections.Concurrent.ConcurrentQueue<string>()

                    let worker client =
                        task {
                            while requests.Value < 20_000 || reloading.Value do
                                let! answer = get client "https://shift.example/" []
                                let backend = answer.Header "X-Kedge-Backend-Name"
                                seen.AddOrUpdate(backend, 1, (fun _ n -> n + 1)) |> ignore
                                Interlocked.Increment requests |> ignore

                                if (answer.Status, answer.Body) <> (200, "shifted") then
                                    failed.Enqueue $"{answer.Status} {answer.Body} {backend}"
                        }

                    let clients =
                        [ Clients.http1 kedge.HttpsPort None; Clients.http2 kedge.HttpsPort None ]

                    let workers =
                        [
                            for client in clients do
                                for _ in 1..4 -> worker client
                        ]

                    do! eventually "the first generation" (fun () -> seen.ContainsKey "gen0")

                    for number in 1..20 do
                        let director, pool = generation peer number
                        // Neither file goes with the other's earlier content: a half-way state would be seen as no-backend.
                        File.WriteAllText(kedge.BackendPoolFile, pool)
                        File.WriteAllText(kedge.DirectorFile, director)
                        kedge.Program.Signal PosixSignal.SIGHUP
                        do! eventually $"generation {number}" (fun () -> seen.ContainsKey $"gen{number}")

                    reloading.Value <- false
                    let! _ = Task.WhenAll workers

                    for client in clients do
                        client.Dispose()

                    Expect.isEmpty failed "failed requests"
                    Expect.equal seen.Count 21 "every generation served"
                    Expect.isGreaterThanOrEqual requests.Value 20_000 "requests"
                    let connections = peer.Received |> Array.countBy _.ConnectionId |> Array.length
                    Expect.isLessThan connections 100 "connections to the backend were kept"
                    let! status = DebugPort.json kedge "/debug/status"
                    Expect.equal (status.GetProperty("generation").GetInt64()) 21L "generations"
                    Expect.equal (status.GetProperty("generations").GetArrayLength()) 20 "the journal is bounded"

                    let newest () =
                        task {
                            let! status = DebugPort.json kedge "/debug/status"
                            let generations = status.GetProperty "generations"
                            return Seq.head (generations.EnumerateArray())
                        }

                    do!
                        wait "the journal's words" (fun () ->
                            task {
                                let! generation = newest ()
                                return generation.GetProperty("lines").ToString().Contains "gen20"
                            })

                    let! generation = newest ()
                    // Both are looked at; whichever comes first.
                    Expect.contains [ "SIGHUP"; "file" ] (string (generation.GetProperty "source")) "source"
                })

            case "a swapped ConfigMap link is seen without a signal; hits of a rule that stays are kept" (fun () ->
                task {
                    use peer = new HttpPeer "mapped"
                    let first, _ = generation peer 1

                    let pool =
                        Json.pool [ Json.backend "gen1" peer.Port; Json.backend "gen2" peer.Port ] []

                    use! kedge = Kedge.Start(first, pool, [])

                    for version, number in [ "v1", 1; "v2", 2 ] do
                        let directory = Directory.CreateDirectory(kedge.Scratch.File version).FullName

                        let director =
                            Json.director
                                [
                                    Json.httpRoute $"gen{number}" "shift.example"
                                    Json.httpRoute "gen1" "stays.example"
                                ]
                                []

                        File.WriteAllText(Path.Combine(directory, "director.json"), director)

                    let link (name: string) (target: string) =
                        let fresh = kedge.Scratch.File(name + ".tmp")
                        File.CreateSymbolicLink(fresh, target) |> ignore
                        // As Kubernetes does: in one step, whatever the link leads to.
                        Expect.equal (Posix.rename (fresh, kedge.Scratch.File name)) 0 "rename"

                    link "..data" "v1"
                    link "director.json" "..data/director.json"

                    do!
                        wait "the first version" (fun () ->
                            task {
                                let! backend = backendOf kedge "stays.example"
                                return backend = "gen1"
                            })

                    let! before = backendOf kedge "shift.example"
                    Expect.equal before "gen1" "before"
                    link "..data" "v2"

                    do!
                        wait "the second version" (fun () ->
                            task {
                                let! backend = backendOf kedge "shift.example"
                                return backend = "gen2"
                            })

                    let! status = DebugPort.json kedge "/debug/status"

                    let hits =
                        [
                            for route in status.GetProperty("routes").EnumerateArray() ->
                                string (route.GetProperty("rule").GetString()), route.GetProperty("hits").GetInt64()
                        ]
                        |> Map

                    Expect.isGreaterThan hits["host=stays.example"] 0L "kept over the reload"
                })

            case "a route with the name `any` does not get the hits of a rule without name and conditions" (fun () ->
                task {
                    let fallback = """{ "respond": { "status": 404 } }"""

                    let named =
                        """{ "name": "any", "host_matcher": "new.example", "respond": { "status": 200 } }"""

                    use! kedge = Kedge.Start(Json.director [ fallback ] [], Json.pool [] [], [])
                    use client = Clients.http1 kedge.HttpsPort None
                    let! _ = get client "https://else.example/" []
                    File.WriteAllText(kedge.DirectorFile, Json.director [ named ] [])

                    do!
                        wait "the new route" (fun () ->
                            task {
                                let! answer = get client "https://new.example/" []
                                return int answer.Status = 200
                            })

                    let! status = DebugPort.json kedge "/debug/status"
                    let route = status.GetProperty("routes").EnumerateArray() |> Seq.exactlyOne
                    Expect.equal (route.GetProperty("hits").GetInt64()) 1L "hits"
                })

            case
                "a broken file: the old configuration serves; the error is on the page, in the log and in a metric; mended: gone"
                (fun () ->
                    task {
                        use peer = new HttpPeer "unbroken"
                        let director, pool = generation peer 1
                        use! kedge = Kedge.Start(director, pool, [])

                        File.WriteAllText(
                            kedge.DirectorFile,
                            """{ "http": { "routes": [ { "backend_nam": "gen1" } ] } }"""
                        )

                        do!
                            wait "the refusal" (fun () ->
                                task {
                                    let! errors = errors kedge
                                    return not errors.IsEmpty
                                })

                        let! found = errors kedge
                        let place = "director.json:1:27: $.http.routes[0].backend_nam"
                        Expect.stringContains found[0] place "on the page"
                        let! page = DebugPort.text kedge "/debug/status"
                        Expect.stringContains page place "as HTML"
                        Expect.stringContains kedge.Program.Output place "in the log"
                        let! refused = DebugPort.metric kedge "kedge_configuration_refused" []
                        Expect.equal refused 1.0 "refused"
                        let! failures = DebugPort.metric kedge "kedge_configuration_reload_failures_total" []
                        Expect.equal failures 1.0 "counted once, not every second"
                        let! backend = backendOf kedge "shift.example"
                        Expect.equal backend "gen1" "the old one serves"
                        let director, pool = generation peer 2
                        File.WriteAllText(kedge.BackendPoolFile, pool)
                        File.WriteAllText(kedge.DirectorFile, director)

                        do!
                            wait "the mended configuration" (fun () ->
                                task {
                                    let! backend = backendOf kedge "shift.example"
                                    return backend = "gen2"
                                })

                        do!
                            wait "a page without errors" (fun () ->
                                task {
                                    let! left = errors kedge
                                    return left.IsEmpty
                                })

                        let! refused = DebugPort.metric kedge "kedge_configuration_refused" []
                        Expect.equal refused 0.0 "gone from the metric"
                        let! generation = DebugPort.metric kedge "kedge_configuration_generation" []
                        Expect.equal generation 2.0 "a refusal is no generation"

                        let! changes =
                            DebugPort.metric
                                kedge
                                "kedge_http_backend_configuration_changes_total"
                                [ "action", "delete"; "backend_name", "gen1" ]

                        Expect.equal changes 1.0 "the old backend went"
                    })

            case "a changed certificate is used for new connections; a broken one is refused" (fun () ->
                task {
                    use files = new Scratch()

                    let put (identity: Identity) =
                        File.Copy(identity.KeyFile, files.File "tls.key", true)
                        File.Copy(identity.CertFile, files.File "tls.crt", true)

                    let first, second =
                        Certificates.authority.Value.Server(), Certificates.authority.Value.Server()

                    put first

                    use! kedge =
                        Kedge.Start(
                            "{}",
                            "{}",
                            [
                                $"""--server_tls_cert_file={files.File "tls.crt"}"""
                                $"""--server_tls_key_file={files.File "tls.key"}"""
                            ]
                        )

                    Expect.equal (serial kedge) first.Certificate.SerialNumber "at the start"
                    put second
                    do! eventually "the new certificate" (fun () -> serial kedge = second.Certificate.SerialNumber)
                    File.WriteAllText(files.File "tls.crt", "no certificate")

                    do!
                        wait "the refusal" (fun () ->
                            task {
                                let! refused = DebugPort.metric kedge "kedge_certificate_reload_failures_total" []
                                return refused = 1.0
                            })

                    Expect.equal (serial kedge) second.Certificate.SerialNumber "the last good one serves"
                    Expect.stringContains kedge.Program.Output "--server_tls_cert_file" "the log names the flag"
                })
        ]
