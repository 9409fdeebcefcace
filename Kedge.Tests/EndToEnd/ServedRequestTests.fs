/// `kedge explain --from=URL ID`: requests that were served.
module Kedge.Tests.EndToEnd.ServedRequestTests

open System.IO
open System.Net.Http
open System.Runtime.InteropServices
open System.Text.Json.Nodes
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private route (matcher: string) (backend: string) =
    $"""{{"host_matcher": "served.example", {matcher} "backend_name": "{backend}"}}"""

let private run (arguments: string list) =
    task {
        let! code, out, errors = KedgeProgram.RunToEnd arguments
        return code, String.concat "\n" out, String.concat "\n" errors
    }

let private explain (kedge: Kedge) (arguments: string list) =
    run ([ "explain"; "--from=" + kedge.DebugUrl "" ] @ arguments)

[<Tests>]
let tests =
    testList
        "requests that were served"
        [
            case "are explained by the configuration that routed them, also when it has been replaced" (fun () ->
                task {
                    use canary = new HttpPeer "canary"
                    use other = new HttpPeer "other"
                    use calls = new GrpcPeer "calls"

                    let director backend =
                        Json.director
                            [
                                route
                                    """"header_matcher": {"x-env": "canary", "authorization": "Basic c2VjcmV0"},"""
                                    "canary"
                                route """"query_matcher": {"v": "2"},""" "canary"
                                route "" backend
                            ]
                            [ """{"authority_host_matcher": "calls.example", "backend_name": "calls"}""" ]

                    let pool =
                        Json.pool
                            [ Json.backend "canary" canary.Port; Json.backend "other" other.Port ]
                            [ Json.backend "calls" calls.Port ]

                    use! kedge = Kedge.Start(director "other", pool, [])
                    use http1 = Clients.http1 kedge.HttpsPort None
                    use http2 = Clients.http2 kedge.HttpsPort None

                    for version, client in [ "h1", http1; "h2", http2 ] do
                        let ask id url headers = get client url (("X-Kedge-Request-ID", $"{id}-{version}") :: headers)

                        let! _ = ask "header" "https://served.example/x?token=hidden" [ "x-env", "other" ]

                        let! secret =
                            ask
                                "secret"
                                "https://served.example/x"
                                [ "x-env", "canary"; "Authorization", "Basic c2VjcmV0" ]

                        Expect.equal secret.Body "canary" "the first route"
                        let! _ = ask "query" "https://served.example/x?a=1&v=2&token=hidden" []
                        let! _ = ask "nobody" "https://nobody.example/x" []
                        ()

                    use call =
                        Clients.emptyCall $"https://calls.example:{kedge.HttpsPort}/demo.Echo/Say"

                    call.Headers.Add("X-Kedge-Request-ID", "call")
                    let! _ = send http2 call

                    // The third route leads elsewhere now, and the others are gone.
                    File.WriteAllText(kedge.DirectorFile, Json.director [ route "" "canary" ] [])
                    kedge.Program.Signal PosixSignal.SIGHUP

                    do!
                        eventually "the next configuration" (fun () ->
                            (get http1 "https://served.example/" []).Result.Body = "canary")

                    for version in [ "h1"; "h2" ] do
                        let! code, text, errors = explain kedge [ $"header-{version}" ]
                        Expect.equal (code, errors) (0, "") "header"

                        for part in
                            [
                                "GET served.example"
                                ": 200 after"
                                $"sent to backend other at 127.0.0.1:{other.Port}"
                                "configuration 1, which has been replaced"
                                "header x-env is other, not canary"
                                "query v is absent, not 2"
                                "goes to backend other"
                            ] do
                            Expect.stringContains text part "header"

                        let! _, query, _ = explain kedge [ $"query-{version}" ]
                        Expect.stringContains query "goes to backend canary" "query"
                        let! _, nobody, _ = explain kedge [ $"nobody-{version}" ]
                        Expect.stringContains nobody "answered by kedge itself: no-route" "nobody"
                        let! _, secret, _ = explain kedge [ $"secret-{version}" ]
                        Expect.stringContains secret "note: " "a header that is not recorded"

                        for shown in [ text; query; secret ] do
                            Expect.isFalse (shown.Contains "hidden") "parameters that no condition names"

                        let! _, json, _ = explain kedge [ $"secret-{version}"; "--output=json" ]
                        let view = (nonNull (JsonNode.Parse json)).AsObject()
                        Expect.equal (string view["request"]) $"secret-{version}" "the request"
                        Expect.equal (string view["headers"]) "x-env: canary" "without credentials"

                    let! code, call, _ = explain kedge [ "call" ]
                    Expect.equal code 0 "call"
                    Expect.stringContains call "goes to backend calls" "call"
                    let! _ = get http1 "https://served.example/" [ "X-Kedge-Request-ID", "later" ]
                    let! _, later, _ = explain kedge [ "later" ]
                    Expect.stringContains later "configuration 2, which is active" "later"

                    // Configurations are kept for a few reloads.
                    for generation in 3..6 do
                        File.WriteAllText(
                            kedge.DirectorFile,
                            Json.director [ route $""""path_rules": ["/{generation}"],""" "canary" ] []
                        )

                        kedge.Program.Signal PosixSignal.SIGHUP

                        let status path = (get http1 $"https://served.example/{path}" []).Result.Status

                        do!
                            eventually "a newer configuration" (fun () ->
                                status generation = 200 && status (generation - 1) <> 200)

                    let! code, forgotten, _ = explain kedge [ "call" ]
                    Expect.equal code 0 "forgotten"
                    Expect.stringContains forgotten "is no longer kept" "forgotten"
                })

            case "unknown IDs, servers that do not answer and wrong arguments are one sentence each" (fun () ->
                task {
                    use peer = new HttpPeer "served"
                    use! kedge = serving "served" peer.Port []
                    let! code, _, errors = explain kedge [ "unknown" ]
                    Expect.equal code 1 "unknown"
                    Expect.stringContains errors "request unknown is not among the latest 256 requests" "unknown"
                    let! code, _, errors = explain kedge [ "GET"; "https://served.example/" ]
                    Expect.equal code 2 "too many"
                    Expect.stringContains errors "the only argument is the ID of a request" "too many"

                    let! code, _, errors =
                        run [ "explain"; $"--from=http://127.0.0.1:{Ports.free ()}"; "id" ]

                    Expect.equal code 1 "nobody there"
                    Expect.stringContains errors "refused" "nobody there"
                    let! code, _, errors = run [ "explain"; "--from=somewhere"; "id" ]
                    Expect.equal code 2 "neither address nor URL"

                    Expect.stringContains
                        errors
                        "'somewhere' is neither an IP address nor an http or https URL"
                        "neither"
                })

            case "the page of the latest requests links to the explanation" (fun () ->
                task {
                    use peer = new HttpPeer "served"
                    use! kedge = serving "served" peer.Port []
                    use client = Clients.http1 kedge.HttpsPort None
                    let! _ = get client "https://served.example/x" [ "X-Kedge-Request-ID", "a&b" ]
                    use! requests = DebugPort.send kedge HttpMethod.Get "/debug/requests" "text/html"
                    let! html = requests.Content.ReadAsStringAsync()
                    Expect.stringContains html "/debug/explain?request=" "the link"
                    let! page = DebugPort.json kedge "/debug/explain?request=a%26b"
                    Expect.equal (string (page.GetProperty("verdict").GetString())) "goes to backend served" "the page"
                })
        ]
