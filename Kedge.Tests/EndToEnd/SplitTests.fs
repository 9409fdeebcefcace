/// Routes with several backends, over HTTP/1.1, HTTP/2 and gRPC with real callers and backends.
module Kedge.Tests.EndToEnd.SplitTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Authorization
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private stable = Shared.make (fun () -> new HttpPeer "stable")
let private next = Shared.make (fun () -> new HttpPeer "next")
let private calls = Shared.make (fun () -> new GrpcPeer "calls")
let private nextCalls = Shared.make (fun () -> new GrpcPeer "next-calls")
let private issuer = Shared.make (fun () -> new Issuer())

let private pool () =
    let empty =
        """{ "name": "empty", "host": { "dns_name": "no-such-host.invalid", "port": 80 } }"""

    Json.pool
        [
            Json.backend "stable" stable.Value.Port
            Json.backend "next" next.Value.Port
            empty
        ]
        [
            Json.backend "calls" calls.Value.Port
            Json.backend "next_calls" nextCalls.Value.Port
        ]

let private backends (entries: (string * int) list) =
    entries
    |> List.map (fun (name, weight) -> $$"""{ "name": "{{name}}", "weight": {{weight}} }""")
    |> String.concat ", "
    |> sprintf "[ %s ]"

let private route (name: string) (entries: (string * int) list) (fields: string) =
    let comma = if fields = "" then "" else ", "
    $$"""{ "name": "{{name}}", "host_matcher": "{{name}}.example", "backends": {{backends entries}}{{comma}}{{fields}} }"""

let private callRoute (name: string) (entries: (string * int) list) (fields: string) =
    (route name entries fields).Replace("host_matcher", "authority_host_matcher")

let private sticky = """ "split_by": { "cookie": "session" } """

/// A route whose backends have changes of headers of their own.
let internal withHeaders (canary: string) =
    $$"""{ "name": "headers", "host_matcher": "headers.example",
           "request_headers": { "set": { "x-env": "prod", "x-version": "any" } },
           "backends": [
             { "name": "stable", "weight": 50, "request_headers": { "set": { "x-version": "1" } } },
             { "name": "next", "weight": 50, "request_headers": { "add": { "x-version": "2" }, "remove": ["x-debug"] },
               "response_headers": { "set": { "x-canary": "{{canary}}" } } } ] }"""

let private withIssuer (director: string) =
    $$"""{ "token_issuers": [ { "name": "staff", "issuer": "{{issuer.Value.Name}}", "header": "AUTHORIZATION",
                                "audiences": ["{{issuer.Value.Audience}}"] } ],
           {{director.TrimStart().Substring 1}}"""

let private director (weight: int) =
    let share = [ "stable", 100 - weight; "next", weight ]

    Json.director
        [
            route "drawn" [ "stable", 95; "next", 5 ] ""
            route "sticky" share sticky
            route "by-header" [ "stable", 50; "next", 50 ] """ "split_by": { "header": "x-user" } """
            route "by-query" [ "stable", 50; "next", 50 ] """ "split_by": { "query": "user" } """
            route "by-address" [ "stable", 50; "next", 50 ] """ "split_by": { "client_address": true } """
            route "by-token" [ "stable", 50; "next", 50 ] """ "split_by": { "token_subject": true } """
            route "by-san" [ "stable", 50; "next", 50 ] """ "split_by": { "client_san": true } """
            route
                "by-subject"
                [ "stable", 50; "next", 50 ]
                """ "split_by": { "token_subject": true }, "authorization": { "token_issuers": ["staff"] } """
            withHeaders "{route}"
            route "failing" [ "stable", 50; "empty", 50 ] ""
            route "others" [ "stable", 50; "empty", 50 ] """ "on_unavailable": "OTHERS" """
            route "ghost" [ "stable", 50; "missing", 50 ] """ "on_unavailable": "OTHERS" """
        ]
        [
            callRoute "drawn" [ "calls", 95; "next_calls", 5 ] ""
            callRoute "sticky" [ "calls", 100 - weight; "next_calls", weight ] sticky
        ]
    |> withIssuer

let private certificates =
    [
        $"--server_tls_client_ca_files={Certificates.authority.Value.File}"
        "--server_tls_client_cert_required=false"
    ]

let private kedge =
    Shared.make (fun () -> Kedge.Start(director 5, pool (), certificates).GetAwaiter().GetResult())

let private clientsOf (kedge: Kedge) =
    [
        "HTTP/1.1", Clients.http1 kedge.HttpsPort None
        "HTTP/2", Clients.http2 kedge.HttpsPort None
    ]

let private clients = lazy (clientsOf kedge.Value)

/// Sends the requests in parts at the same time; how often each answer was given.
let private tally (count: int) (send: int -> Task<string>) : Task<Map<string, int>> =
    task {
        let found = ConcurrentDictionary<string, int>()
        let workers = 8

        let work worker =
            task {
                for number in 0..workers .. count - 1 - worker do
                    let! answer = send (number + worker)
                    found.AddOrUpdate(answer, 1, (fun _ count -> count + 1)) |> ignore
            }

        let! _ = Task.WhenAll [ for worker in 0 .. workers - 1 -> work worker ]
        return found |> Seq.map (fun (KeyValue(answer, count)) -> answer, count) |> Map
    }

let private count (answer: string) (found: Map<string, int>) = found.TryFind answer |> Option.defaultValue 0

let private backendOf (client: HttpClient) (url: string) (headers: (string * string) list) =
    task {
        let! answer = get client url headers
        Expect.equal answer.Status 200 url
        Expect.equal answer.Body (answer.Header "X-Kedge-Backend-Name") "the backend that is named answers"
        return answer.Body
    }

let private cookie (key: string) = [ "cookie", $"theme=dark; session={key}" ]

/// The bounds of the binomial distribution outside of which one run in a thousand falls, by the normal approximation.
let private isWithin999 (cases: int) (share: float) (found: int) =
    let deviation = Math.Sqrt(float cases * share * (1.0 - share))
    abs (float found - float cases * share) <= 3.2905 * deviation

let private callOf (client: Echo.EchoClient) (headers: (string * string) list) =
    task {
        let metadata = Metadata()

        for name, value in headers do
            metadata.Add(name, value)

        use call = client.UnaryAsync(EchoRequest(Text = "x"), metadata)
        let! sent = call.ResponseHeadersAsync
        let! _ = call.ResponseAsync
        return sent.GetValue "x-peer" |> string
    }

[<Tests>]
let tests =
    testList
        "splits of routes"
        [
            case
                "of 10,000 requests at 95 and 5, the share of each is within 99.9 % of the binomial's bounds"
                (fun () ->
                    task {
                        for protocol, client in clients.Value do
                            let! found = tally 10_000 (fun _ -> backendOf client "https://drawn.example/" [])
                            Expect.equal (count "stable" found + count "next" found) 10_000 protocol
                            Expect.isTrue (isWithin999 10_000 0.05 (count "next" found)) $"{protocol}: {found}"

                        use channel = Clients.grpc kedge.Value.GrpcPort None "drawn.example"
                        let client = Echo.EchoClient channel
                        let! found = tally 10_000 (fun _ -> callOf client [])
                        Expect.equal (count "calls" found + count "next-calls" found) 10_000 "gRPC"
                        Expect.isTrue (isWithin999 10_000 0.05 (count "next-calls" found)) $"gRPC: {found}"

                        let! counted =
                            DebugPort.metric
                                kedge.Value
                                "kedge_route_backend_requests_total"
                                [
                                    "protocol", "grpc"
                                    "route", "drawn"
                                    "backend_name", "next_calls"
                                    "code", "OK"
                                ]

                        Expect.equal (int counted) (count "next-calls" found) "counted for each backend"
                    })

            case
                "raising 5 to 50 moves callers one way only, whatever the protocol, and a restart moves none"
                (fun () ->
                    task {
                        let keys = 400

                        let ask (kedge: Kedge) =
                            task {
                                let answers = ResizeArray<string array>()

                                for protocol, client in clientsOf kedge do
                                    let found = Array.zeroCreate<string> keys

                                    let! _ =
                                        tally keys (fun key ->
                                            task {
                                                let! backend =
                                                    backendOf client "https://sticky.example/" (cookie $"user-{key}")

                                                found[key] <- backend
                                                return protocol
                                            })

                                    answers.Add found

                                use channel = Clients.grpc kedge.GrpcPort None "sticky.example"
                                let client = Echo.EchoClient channel
                                let found = Array.zeroCreate<string> keys

                                let! _ =
                                    tally keys (fun key ->
                                        task {
                                            let! peer = callOf client (cookie $"user-{key}")
                                            found[key] <- if peer = "calls" then "stable" else "next"
                                            return ""
                                        })

                                Expect.equal answers[0] answers[1] "HTTP/1.1 and HTTP/2 agree"
                                return answers[0], found
                            }

                        let isNext answers = answers |> Array.filter (fun backend -> backend = "next") |> Array.length
                        use! first = Kedge.Start(director 5, pool (), [])
                        let! before, callsBefore = ask first
                        let! again, _ = ask first
                        Expect.equal again before "the same caller, the same backend"
                        let! restarted, _ = ask kedge.Value
                        Expect.equal restarted before "replicas agree"
                        Expect.isTrue (isNext before > 4 && isNext before < 45) $"about 5 of 100: {isNext before}"

                        File.WriteAllText(first.DirectorFile, director 50)
                        first.Program.Signal PosixSignal.SIGHUP

                        do!
                            soon
                                (TimeSpan.FromSeconds 20.0)
                                "the new weights"
                                (fun () -> DebugPort.text first "/debug/status")
                                _.Contains("stable 50, next 50 by cookie session")

                        let! after, callsAfter = ask first

                        for was, now in [ before, after; callsBefore, callsAfter ] do
                            Expect.isTrue (isNext now > 150 && isNext now < 250) $"about half: {isNext now}"

                            for key in 0 .. keys - 1 do
                                if was[key] = "next" then
                                    Expect.equal now[key] "next" $"user-{key} is never sent back"
                    })

            case
                "the key is the header, the query parameter, the client's address, name or the token's subject"
                (fun () ->
                    task {
                        for protocol, client in clients.Value do
                            let distinct (url: int -> string) (headers: int -> (string * string) list) =
                                task {
                                    let! found =
                                        tally 60 (fun number ->
                                            task {
                                                let! first = backendOf client (url number) (headers number)
                                                let! second = backendOf client (url number) (headers number)
                                                Expect.equal second first $"{protocol}: {url number} is sticky"
                                                return first
                                            })

                                    Expect.isTrue
                                        (count "stable" found > 5 && count "next" found > 5)
                                        $"{protocol}: {found}"
                                }

                            do!
                                distinct (fun _ -> "https://by-header.example/") (fun number ->
                                    [ "X-User", $"{number}" ])

                            do! distinct (fun number -> $"https://by-query.example/?user=u{number}") (fun _ -> [])

                            // An escape is the character that it stands for.
                            let! plain =
                                tally 20 (fun _ -> backendOf client "https://by-query.example/?user=ab" [])

                            let! escaped =
                                tally 20 (fun _ -> backendOf client "https://by-query.example/?user=%61b" [])

                            Expect.equal escaped plain $"{protocol}: escaped"
                            let! found = tally 40 (fun _ -> backendOf client "https://by-address.example/" [])
                            Expect.equal found.Count 1 $"{protocol}: one address, one backend"
                    })

            case "a backend has changes of headers of its own, after those of the route" (fun () ->
                task {
                    for protocol, client in clients.Value do
                        let path = $"/own-{protocol.Length}"

                        let! found =
                            tally 40 (fun _ ->
                                task {
                                    let! answer = get client $"https://headers.example{path}" [ "x-debug", "1" ]
                                    Expect.equal answer.Status 200 protocol
                                    let canary = answer.Header "X-Canary"
                                    return $"{answer.Body} {canary}"
                                })

                        Expect.equal (found |> Map.keys |> List.ofSeq) [ "next headers"; "stable " ] protocol

                        for peer, versions, debug in [ stable, [ "1" ], [ "1" ]; next, [ "any"; "2" ], [] ] do
                            for request in peer.Value.ReceivedOn path do
                                Expect.equal (request.Values "x-version") versions peer.Value.Name
                                Expect.equal (request.Values "x-debug") debug peer.Value.Name
                                Expect.equal (request.Header "x-env") "prod" "the route's"
                })

            case "each subject of a token, and each name in a client's certificate, has its backend" (fun () ->
                task {
                    /// The backend of each of several callers, whatever the protocol.
                    let backends (who: int -> (HttpClient * (string * string) list) list) (url: string) =
                        task {
                            let found = ResizeArray<string>()

                            for number in 1..10 do
                                let answers = ResizeArray<string>()

                                for client, headers in who number do
                                    for _ in 1..2 do
                                        let! backend = backendOf client url headers
                                        answers.Add backend

                                Expect.hasLength (Seq.distinct answers) 1 $"{url}: {number} has one backend"
                                found.Add answers[0]

                            Expect.hasLength (Seq.distinct found) 2 $"{url}: both have callers"
                            return List.ofSeq found
                        }

                    let token number =
                        [
                            for _, client in clients.Value do
                                // Another token each time, of the same subject.
                                let token = (issuer.Value.Token []).With [ "sub", box $"user-{number}" ]
                                client, [ "Authorization", $"Bearer {token.Text}" ]
                        ]

                    let! first = backends token "https://by-subject.example/"
                    let! again = backends token "https://by-subject.example/"
                    Expect.equal again first "the same subject, the same backend"

                    let certificate number =
                        let identity =
                            Certificates.authority.Value.ClientWith($"CN=c{number}", [ $"c{number}.example" ])

                        [
                            Clients.http1 kedge.Value.HttpsPort (Some identity), []
                            Clients.http2 kedge.Value.HttpsPort (Some identity), []
                        ]

                    let! first = backends certificate "https://by-san.example/"
                    let! again = backends certificate "https://by-san.example/"
                    Expect.equal again first "another certificate of the same name, the same backend"

                    let! missing =
                        DebugPort.metric
                            kedge.Value
                            "kedge_split_key_missing_total"
                            [ "route", "by-subject"; "protocol", "http" ]

                    Expect.equal missing 0.0 "each had its key"
                })

            case "a request without the key is drawn, and counted" (fun () ->
                task {
                    let client = snd clients.Value.Head

                    let missing (route: string) =
                        DebugPort.metric
                            kedge.Value
                            "kedge_split_key_missing_total"
                            [ "route", route; "protocol", "http" ]

                    for route in [ "by-header"; "by-token"; "by-san" ] do
                        let! found = tally 60 (fun _ -> backendOf client $"https://{route}.example/" [])
                        Expect.equal found.Count 2 route
                        let! counted = missing route
                        Expect.isGreaterThanOrEqual counted 60.0 route

                    let! found =
                        tally 60 (fun _ -> backendOf client "https://sticky.example/" (cookie ""))

                    Expect.isTrue (count "stable" found > 30) "an empty cookie is no key"
                })

            case "the share of a backend without an endpoint gets 503, or is shared by the others" (fun () ->
                task {
                    for protocol, client in clients.Value do
                        let status (host: string) (_: int) =
                            task {
                                let! answer = get client $"https://{host}.example/" []
                                return $"{answer.Status}"
                            }

                        let! found = tally 60 (status "failing")
                        let failed = found |> Map.filter (fun answer _ -> answer.StartsWith "503")
                        Expect.isTrue (count "200" found > 5) $"{protocol}: {found}"
                        Expect.equal (failed |> Map.values |> Seq.sum) (60 - count "200" found) $"{protocol}: {found}"
                        let! found = tally 60 (status "others")
                        Expect.equal found (Map [ "200", 60 ]) $"{protocol}: the others"
                        let! found = tally 60 (status "ghost")
                        let failed = found |> Map.filter (fun answer _ -> answer.StartsWith "502")
                        Expect.isTrue (count "200" found > 5) $"{protocol}: {found}"
                        Expect.equal (failed |> Map.values |> Seq.sum) (60 - count "200" found) $"{protocol}: {found}"

                    let! failed =
                        DebugPort.metric
                            kedge.Value
                            "kedge_route_backend_requests_total"
                            [
                                "protocol", "http"
                                "route", "failing"
                                "backend_name", "empty"
                                "code", "503"
                            ]

                    Expect.isGreaterThan failed 10.0 "counted for the backend that was chosen"
                })
        ]
