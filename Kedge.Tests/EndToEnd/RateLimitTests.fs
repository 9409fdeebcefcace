/// Rate limits, over HTTP/1.1, HTTP/2 and gRPC with the real executable: docs/matching.md#rate-limits. The limits allow
/// so little in an hour that nothing comes back during a test.
module Kedge.Tests.EndToEnd.RateLimitTests

open System
open System.IO
open System.Net.Http
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Authorization
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private limit name burst rest =
    $$"""{ "name": "{{name}}", "limit": 1, "period": "1h", "burst": {{burst}} {{rest}} }"""

let private quoted (names: string list) = names |> List.map (fun name -> $"\"{name}\"") |> String.concat ", "

let private http host (limits: string list) rest =
    $$"""{ "name": "{{host}}", "backend_name": "web", "host_matcher": "{{host}}.example",
           "rate_limits": [{{quoted limits}}] {{rest}} }"""

let private grpc host (limits: string list) =
    $$"""{ "backend_name": "calls", "authority_host_matcher": "{{host}}.example", "rate_limits": [{{quoted limits}}] }"""

let private limited (limits: string list) (http: string list) (grpc: string list) =
    let list = String.concat ",\n"

    $$"""{ "rate_limits": [ {{list limits}} ],
           "http": { "routes": [ {{list http}} ] }, "grpc": { "routes": [ {{list grpc}} ] } }"""

let private web = Shared.make (fun () -> new HttpPeer "web")
let private calls = Shared.make (fun () -> new GrpcPeer "calls")

let private pool () =
    Json.pool [ Json.backend "web" web.Value.Port ] [ Json.backend "calls" calls.Value.Port ]

let private start limits http grpc flags = Kedge.Start(limited limits http grpc, pool (), flags)

/// The statuses of so many requests, one after the other.
let private statuses (client: HttpClient) (host: string) (headers: (string * string) list) (count: int) =
    task {
        let found = ResizeArray<int>()

        for _ in 1..count do
            let! answer = get client $"https://{host}.example/" headers
            found.Add answer.Status

        return List.ofSeq found
    }

let private decisions (kedge: Kedge) (name: string) =
    task {
        let! samples = DebugPort.samples kedge

        return
            [
                for decision in [ "allowed"; "refused"; "shadow_refused"; "overflow" ] do
                    samples
                    |> List.find (fun sample ->
                        sample.Name = "kedge_rate_limit_decisions_total"
                        && sample.Labels = Map [ "limit", name; "decision", decision ])
                    |> _.Value
                    |> int
            ]
    }

let private keys (kedge: Kedge) (name: string) =
    task {
        let! keys = DebugPort.metric kedge "kedge_rate_limit_keys" [ "limit", name ]
        return int keys
    }

let private serving =
    [
        case "as many as the burst pass, the next one gets 429 and when to come back" (fun () ->
            task {
                use! kedge =
                    start
                        [ limit "one" 2 ""; limit "two" 2 "" ]
                        [ http "one" [ "one" ] ""; http "two" [ "two" ] "" ]
                        []
                        []

                use http1 = Clients.http1 kedge.HttpsPort None
                use http2 = Clients.http2 kedge.HttpsPort None
                let before = web.Value.Received.Length

                for protocol, client, host in [ "HTTP/1.1", http1, "one"; "HTTP/2", http2, "two" ] do
                    let! passed = statuses client host [] 2
                    Expect.equal passed [ 200; 200 ] protocol
                    let! answer = get client $"https://{host}.example/" []
                    Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (429, "rate-limited") protocol
                    Expect.stringContains (answer.Header "X-Kedge-Error") host "the reason names the limit"
                    let seconds = int (answer.Header "Retry-After")
                    Expect.isTrue (seconds > 3500 && seconds <= 3600) $"{protocol}: {seconds} s"
                    Expect.equal (answer.Header "RateLimit") "" "no more headers unless asked for"

                Expect.equal (web.Value.Received.Length - before) 4 "nothing else reached the backend"
                let! one = decisions kedge "one"
                Expect.equal one [ 2; 1; 0; 0 ] "decisions"
                let! key = keys kedge "one"
                Expect.equal key 0 "a limit without a key"

                let refusals =
                    kedge.Program.Stderr |> Array.filter (fun line -> line.Contains "rate-limited")

                Expect.isEmpty refusals "a flood of requests must not fill the log"
            })

        case "gRPC: RESOURCE_EXHAUSTED with a pushback; a stream counts once" (fun () ->
            task {
                use! kedge =
                    start
                        [ limit "calls" 2 ""; limit "streams" 1 "" ]
                        []
                        [ grpc "calls" [ "calls" ]; grpc "streams" [ "streams" ] ]
                        []

                let unary port =
                    task {
                        use channel = Clients.grpc port None "calls.example:443"

                        let! reply =
                            Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x")).ResponseAsync

                        Expect.equal reply.Text "x" "reply"
                    }

                do! unary kedge.GrpcPort
                do! unary kedge.HttpsPort

                for port in [ kedge.GrpcPort; kedge.HttpsPort ] do
                    let! error = failure<RpcException> "a third call" (fun () -> unary port)
                    Expect.equal error.StatusCode StatusCode.ResourceExhausted error.Status.Detail

                    let pushback =
                        error.Trailers.GetValue "grpc-retry-pushback-ms" |> Unchecked.nonNull |> int64

                    Expect.isTrue (pushback > 3_500_000L && pushback <= 3_600_000L) $"{pushback} ms"
                    Expect.equal (error.Trailers.GetValue "x-kedge-error-type") "rate-limited" "type"

                use channel = Clients.grpc kedge.GrpcPort None "streams.example:443"
                use call = Echo.EchoClient(channel).Bidi()

                for text in [ "a"; "b"; "c" ] do
                    do! call.RequestStream.WriteAsync(EchoRequest(Text = text))
                    let! next = call.ResponseStream.MoveNext Threading.CancellationToken.None
                    Expect.isTrue next "a reply"

                do! call.RequestStream.CompleteAsync()
                let! streams = decisions kedge "streams"
                Expect.equal streams [ 1; 0; 0; 0 ] "once"
            })

        case "each key has a bucket; without a part of the key: one for all, or no limit" (fun () ->
            task {
                use! kedge =
                    start
                        [
                            limit "user" 1 """, "key": ["header:X-User"]"""
                            limit "skip" 1 """, "key": ["header:x-user", "host"], "on_missing_key": "SKIP" """
                            limit "route" 1 """, "key": ["route"]"""
                            limit "host" 1 """, "key": ["host"]"""
                        ]
                        [
                            http "user" [ "user" ] ""
                            http "skip" [ "skip" ] ""
                            http "red" [ "route" ] ""
                            http "blue" [ "route" ] ""
                            """{ "backend_name": "web", "host_matcher": "*.hosts.example", "rate_limits": ["host"] }"""
                        ]
                        []
                        []

                use client = Clients.http1 kedge.HttpsPort None
                let user name = [ "x-user", name ]
                let! alice = statuses client "user" (user "alice") 2
                let! bob = statuses client "user" (user "bob") 2
                let! nobody = statuses client "user" [] 2
                Expect.equal (alice, bob, nobody) ([ 200; 429 ], [ 200; 429 ], [ 200; 429 ]) "by user"
                let! count = keys kedge "user"
                Expect.equal count 2 "two keys; the common bucket is none"
                let! alice = statuses client "skip" (user "alice") 2
                let! nobody = statuses client "skip" [] 3
                Expect.equal (alice, nobody) ([ 200; 429 ], [ 200; 200; 200 ]) "skipped"
                let! red = statuses client "red" [] 2
                let! blue = statuses client "blue" [] 2
                Expect.equal (red, blue) ([ 200; 429 ], [ 200; 429 ]) "by route"
                let! a = statuses client "a.hosts" [] 2
                let! b = statuses client "B.hosts" [] 2
                let! again = statuses client "b.hosts" [] 1
                Expect.equal (a, b, again) ([ 200; 429 ], [ 200; 429 ], [ 429 ]) "by host"
            })

        case "the client's address is that behind trusted proxies; of IPv6 the first 64 bits count" (fun () ->
            task {
                use! kedge =
                    start
                        [ limit "near" 1 """, "key": ["client_address"]""" ]
                        [ http "near" [ "near" ] "" ]
                        []
                        [ "--trusted_proxies=127.0.0.0/8" ]

                use client = Clients.http2 kedge.HttpsPort None
                let from (address: string) = statuses client "near" [ "X-Forwarded-For", address ] 2
                let! first = from "203.0.113.1"
                let! second = from "203.0.113.2"
                Expect.equal (first, second) ([ 200; 429 ], [ 200; 429 ]) "IPv4"
                let! first = from "2001:db8:1:1::1"
                let! sameNetwork = from "2001:db8:1:1:ffff::2"
                let! otherNetwork = from "2001:db8:1:2::1"
                Expect.equal (first, sameNetwork, otherNetwork) ([ 200; 429 ], [ 429; 429 ], [ 200; 429 ]) "IPv6"
                let! mapped = from "::ffff:203.0.113.1"
                Expect.equal mapped [ 429; 429 ] "an IPv4-mapped address is the IPv4 address"
            })

        case "a request that one of several limits refuses costs nothing in the others" (fun () ->
            task {
                use! kedge =
                    start
                        [ limit "narrow" 1 """, "key": ["header:x-user"]"""; limit "wide" 3 "" ]
                        [ http "both" [ "wide"; "narrow" ] "" ]
                        []
                        []

                use client = Clients.http1 kedge.HttpsPort None
                let! alice = statuses client "both" [ "x-user", "alice" ] 10
                Expect.equal (List.filter ((=) 200) alice) [ 200 ] "one of ten"
                let! bob = statuses client "both" [ "x-user", "bob" ] 1
                let! carol = statuses client "both" [ "x-user", "carol" ] 1
                let! dave = statuses client "both" [ "x-user", "dave" ] 1
                Expect.equal (bob, carol, dave) ([ 200 ], [ 200 ], [ 429 ]) "the wide limit has three"
                let! users = keys kedge "narrow"
                Expect.equal users 3 "a refused request adds no key"
            })

        case "a limit in shadow mode refuses nothing, and is counted and logged" (fun () ->
            task {
                use! kedge =
                    start
                        [ limit "trial" 1 """, "shadow": true""" ]
                        [ http "trial" [ "trial" ] "" ]
                        []
                        [ "--access_log" ]

                use client = Clients.http1 kedge.HttpsPort None
                let! all = statuses client "trial" [] 3
                Expect.equal all [ 200; 200; 200 ] "all pass"
                let! trial = decisions kedge "trial"
                Expect.equal trial [ 1; 0; 2; 0 ] "decisions"

                do!
                    eventually "two marked lines" (fun () ->
                        kedge.Program.Stderr
                        |> Array.filter (fun line -> line.Contains "beyond the rate limit trial")
                        |> Array.length
                            =
                            2)
            })

        case "limits are asked before the token is verified, those of its subject afterwards" (fun () ->
            task {
                use issuer = new Issuer()

                use! kedge =
                    start
                        [
                            limit "address" 4 """, "key": ["client_address"]"""
                            limit "subject" 1 """, "key": ["token_subject", "issuer"]"""
                        ]
                        [ http "guarded" [ "subject"; "address" ] "" ]
                        []
                        issuer.Flags

                use client = Clients.http1 kedge.HttpsPort None

                let bearer (subject: string) =
                    let token = (issuer.Token []).Without("sub").With [ "sub", box subject ]
                    [ "Proxy-Authorization", $"Bearer {token.Text}" ]

                let! first = statuses client "guarded" (bearer "alice") 2
                let! other = statuses client "guarded" (bearer "bob") 1
                Expect.equal (first, other) ([ 200; 429 ], [ 200 ]) "by subject"
                let! without = statuses client "guarded" [] 2
                Expect.equal without [ 401; 429 ] "each of four was charged, whatever became of its token"
            })

        case "a full table: new keys share one bucket, known ones keep theirs" (fun () ->
            task {
                use! kedge =
                    start
                        [ limit "few" 2 """, "key": ["header:x-user"], "max_keys": 2""" ]
                        [ http "few" [ "few" ] "" ]
                        []
                        []

                use client = Clients.http1 kedge.HttpsPort None
                let user name count = statuses client "few" [ "x-user", name ] count
                let! a = user "a" 2
                let! b = user "b" 1
                let! c = user "c" 1
                let! d = user "d" 1
                let! e = user "e" 1
                let! a' = user "a" 1
                let! b' = user "b" 1
                Expect.equal (a, b) ([ 200; 200 ], [ 200 ]) "known"
                Expect.equal (c, d, e) ([ 200 ], [ 200 ], [ 429 ]) "shared"
                Expect.equal (a', b') ([ 429 ], [ 200 ]) "their own"
                let! few = decisions kedge "few"
                Expect.equal few [ 6; 2; 0; 3 ] "decisions"
                let! count = keys kedge "few"
                Expect.equal count 2 "keys"
            })

        case "a key whose time has come makes room for another" (fun () ->
            task {
                let limit =
                    """{ "name": "quick", "limit": 50, "key": ["header:x-user"], "max_keys": 1 }"""

                use! kedge = start [ limit ] [ http "quick" [ "quick" ] "" ] [] []
                use client = Clients.http1 kedge.HttpsPort None
                let! _ = statuses client "quick" [ "x-user", "first" ] 1

                do! soon patience "the key is forgotten" (fun () -> keys kedge "quick") ((=) 0)

                let! _ = statuses client "quick" [ "x-user", "second" ] 1
                let! quick = decisions kedge "quick"
                Expect.equal quick [ 2; 0; 0; 0 ] "no overflow"
            })

        case "a reload keeps what callers have used, unless the limit's name or key changes" (fun () ->
            task {
                let limits burst key =
                    [
                        limit "kept" burst """, "key": ["header:x-user"]"""
                        limit "changed" 1 $", \"key\": [\"{key}\"]"
                    ]

                let routes marker =
                    [
                        http "kept" [ "kept" ] ""
                        http "changed" [ "changed" ] ""
                        $$"""{ "host_matcher": "marker.example", "respond": { "status": {{marker}} } }"""
                    ]

                use! kedge = start (limits 2 "host") (routes 200) [] []
                use client = Clients.http1 kedge.HttpsPort None

                let reload burst key marker =
                    task {
                        File.WriteAllText(kedge.DirectorFile, limited (limits burst key) (routes marker) [])

                        do!
                            soon
                                patience
                                "the new configuration"
                                (fun () -> statuses client "marker" [] 1)
                                ((=) [ marker ])
                    }

                let user count = statuses client "kept" [ "x-user", "alice" ] count
                let! before = user 3
                let! other = statuses client "changed" [] 2
                Expect.equal (before, other) ([ 200; 200; 429 ], [ 200; 429 ]) "before"
                do! reload 2 "host" 201
                let! kept = user 1
                let! other = statuses client "changed" [] 1
                Expect.equal (kept, other) ([ 429 ], [ 429 ]) "both kept"
                do! reload 3 "route" 202
                let! kept = user 2
                let! other = statuses client "changed" [] 2
                Expect.equal kept [ 200; 429 ] "one more than before"
                Expect.equal other [ 200; 429 ] "another key: new buckets"
                let! decisions = decisions kedge "kept"
                Expect.equal decisions [ 3; 3; 0; 0 ] "the counters do not go back"
            })

        case "headers say what a limit still allows, on answers of backends and of kedge" (fun () ->
            task {
                use! kedge =
                    start
                        [
                            limit "quota" 2 """, "key": ["route"]"""
                            limit "trial" 1 """, "shadow": true"""
                        ]
                        [ http "quota" [ "quota"; "trial" ] """, "rate_limit_headers": true""" ]
                        []
                        []

                for client in [ Clients.http1 kedge.HttpsPort None; Clients.http2 kedge.HttpsPort None ] do
                    use client = client
                    let! answer = get client "https://quota.example/" []
                    Expect.equal (answer.Header "RateLimit-Policy") "\"quota\";q=1;w=3600" "policy"
                    let left = answer.Header "RateLimit"
                    let remaining = if answer.Status = 429 then 0 else -1
                    Expect.stringStarts left "\"quota\";r=" $"{remaining}"

                use client = Clients.http1 kedge.HttpsPort None
                let! refused = get client "https://quota.example/" []
                Expect.equal refused.Status 429 "used up"
                Expect.stringStarts (refused.Header "RateLimit") "\"quota\";r=0;t=" "nothing is left"
            })
    ]

let private commands =
    let file =
        """{
  "rate_limits": [
    { "name": "per_client", "limit": 100, "period": "1s", "burst": 50, "key": ["client_address"] },
    { "name": "per_user", "limit": 10, "period": "1m", "key": ["token_subject", "header:x-team"] },
    { "name": "spare", "limit": 1 }
  ],
  "http": { "routes": [
    { "name": "open", "backend_name": "web", "path_rules": ["/open"], "authorization": { "anonymous": true },
      "rate_limits": ["per_user"] },
    { "name": "web", "backend_name": "web", "rate_limits": ["per_user", "per_client"] }
  ] } }"""

    let write (scratch: Scratch) name (content: string) = scratch.Write(name, content)

    [
        case "check: limits that nobody names, keys that are never there, names that no limit has" (fun () ->
            task {
                use scratch = new Scratch()
                let path = write scratch "director.json" file
                let! code, output, _ = run [ "check"; "--output=json"; director path ]
                Expect.equal code 0 "only warnings"

                let found =
                    items "findings" (json output)
                    |> List.map (fun finding -> text "kind" finding, text "path" finding)
                    |> List.filter (fun (kind, _) -> kind.Contains "limit")

                Expect.equal
                    found
                    [
                        "limit-key-never-there", "$.http.routes[0].rate_limits"
                        "unused-rate-limit", "$.rate_limits[2]"
                    ]
                    "findings"

                let path =
                    write scratch "bad.json" (file.Replace("\"per_user\", \"per_client\"", "\"per_users\""))

                let! code, output, _ = run [ "check"; "--output=json"; director path ]
                Expect.equal code 1 "an error"
                let finding = items "findings" (json output) |> List.exactlyOne
                Expect.equal (text "kind" finding, text "severity" finding) ("unknown-rate-limit", "error") "kind"
                Expect.equal (text "path" finding) "$.http.routes[1].rate_limits[0]" "place"
                Expect.stringContains (text "message" finding) "did you mean per_user?" "message"
            })

        case "explain: the limits in the order in which they are asked, and the request's key" (fun () ->
            task {
                use scratch = new Scratch()
                let path = write scratch "director.json" file

                let request =
                    [ "explain"; "GET"; "https://a.example/"; "-H"; "x-team: blue"; director path ]

                let! _, output, _ = run request

                Expect.equal
                    (output
                     |> Array.filter (fun line -> line.Contains "rate limit")
                     |> Array.map _.Trim()
                     |> List.ofArray)
                    [
                        "rate limit: per_client (100 per 1s, burst 50): client_address=(the caller's)"
                        "rate limit: per_user (10 per 1m, burst 1): token_subject=(the caller's), header:x-team=blue; asked after the token"
                    ]
                    "lines"

                let! _, output, _ = run [ "explain"; "GET"; "https://a.example/"; director path ]

                Expect.exists
                    output
                    (fun line -> line.Contains "the bucket of all requests without header:x-team")
                    "a part is missing"
            })

        case "diff: a changed limit is a changed route, with the direction" (fun () ->
            task {
                use scratch = new Scratch()
                let before = write scratch "before.json" file

                let after =
                    write scratch "after.json" (file.Replace("\"limit\": 100", "\"limit\": 50"))

                let! _, output, _ = run [ "diff"; "--output=json"; before; after ]
                let differences = items "differences" (json output)
                Expect.equal (differences |> List.map (text "kind")) [ "route-changed"; "rate-limit-changed" ] "kinds"
                let changed = differences[0]
                Expect.stringContains (text "request_before" changed) "per_client (100 per 1s, burst 50)" "before"
                Expect.stringContains (text "request_after" changed) "per_client (50 per 1s, burst 50)" "after"
                Expect.stringEnds (text "request_after" changed) ": tightened" "direction"
                Expect.stringEnds (text "after" differences[1]) ": tightened" "direction of the limit"
                let! _, output, _ = run [ "diff"; "--output=json"; after; before ]
                let differences = items "differences" (json output)
                Expect.stringEnds (text "request_after" differences[0]) ": loosened" "the other way"
            })
    ]

[<Tests>]
let tests = testList "rate limits" (serving @ commands)
