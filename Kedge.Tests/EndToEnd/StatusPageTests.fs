module Kedge.Tests.EndToEnd.StatusPageTests

open System.IO
open System.Collections.Concurrent
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Deque.AxeCore.Commons
open Microsoft.Playwright

let private axe = lazy BundledAxeScriptProvider().GetScript()

/// What axe-core finds on the page: rule, and the elements that break it. The pages have no frames, so the script runs
/// in the page itself. Empty rules = all.
let private violations (rules: string list) (page: IPage) =
    task {
        let! _ = page.EvaluateAsync axe.Value

        let! found =
            page.EvaluateAsync<string array>(
                "async rules => {
                   const options = { resultTypes: ['violations'], ...(rules.length ? { runOnly: rules } : {}) };
                   const found = await axe.run(options);
                   return found.violations.flatMap(one =>
                     one.nodes.map(node => `${one.id} (${one.help}): ${node.html}`));
                 }",
                List.toArray rules
            )

        return List.ofArray found
    }

let private screenshots = Path.Combine(Executable.root, "artifacts", "screenshots")

/// A server whose pages show all kinds of things: routes, a backend without endpoints, requests, a rejected change.
let private shown (port: int) (calls: int) =
    task {
        let! kedge =
            Kedge.Start(
                Json.director
                    [
                        Json.httpRoute "shop" "shop.example"
                        """{ "backend_name": "shop", "host_matcher": "api.example", "port_matcher": 8443, "path_rules": ["/v1/*", "/health"] }"""
                        Json.httpRoute "archive" "archive.example"
                        Json.httpRoute "ghost" "ghost.example"
                    ]
                    [ Json.grpcRoute "orders" "orders.example" ],
                Json.pool
                    [ Json.backend "shop" port; Json.backend "archive" (Ports.free ()) ]
                    [ Json.backend "orders" calls ],
                []
            )

        use client = Clients.http1 kedge.HttpsPort None

        for host in [ "shop"; "shop"; "shop"; "archive"; "ghost"; "nobody" ] do
            let! _ = get client $"https://{host}.example/some/path" []
            ()

        File.WriteAllText(kedge.DirectorFile, """{ "http": { "routs": [] } }""")

        do!
            eventually "the refusal" (fun () ->
                (DebugPort.text kedge "/debug/status").GetAwaiter().GetResult().Contains "routs")

        return kedge
    }

let private screenshot (page: IPage) (name: string) =
    task {
        let! _ =
            page.ScreenshotAsync(
                PageScreenshotOptions(Path = Path.Combine(screenshots, $"{name}.png"), FullPage = true)
            )

        ()
    }

/// Looks at the pages in a browser with these preferences: everything is there, and no page has barriers.
let private browse (name: string) (scheme: ColorScheme) (width: int) (rules: string list) =
    task {
        use peer = new HttpPeer "shown"
        use other = new GrpcPeer "shown-calls"
        use! kedge = shown peer.Port other.Port
        Directory.CreateDirectory screenshots |> ignore
        use! playwright = Playwright.CreateAsync()
        use! browser = Browser.launch playwright []
        let errors = ConcurrentQueue<string>()

        let! page =
            browser.NewPageAsync(
                BrowserNewPageOptions(ColorScheme = scheme, ViewportSize = ViewportSize(Width = width, Height = 900))
            )

        page.Console.Add(fun message ->
            if message.Type = "error" || message.Type = "warning" then
                errors.Enqueue message.Text)

        page.PageError.Add(fun error -> errors.Enqueue error)
        let! _ = page.GotoAsync(kedge.DebugUrl "/debug/status")
        let! alarm = page.InnerTextAsync "[role=alert]"
        Expect.stringContains alarm "routs" "the refused change stands out"
        let! routes = page.InnerTextAsync "#routes"
        Expect.stringContains routes "shop.example" "routes"

        let! overflow =
            page.EvaluateAsync<bool> "document.documentElement.scrollWidth > document.documentElement.clientWidth"

        Expect.isFalse overflow "the page does not scroll sideways"
        do! screenshot page $"status-{name}"
        let! found = violations rules page
        Expect.equal found [] "barriers on the status page"
        do! page.FillAsync("#url", "https://api.example:8443/v1/items")
        do! page.ClickAsync "form.explain button"
        let! _ = page.WaitForSelectorAsync ".verdict"
        let! verdict = page.InnerTextAsync ".verdict"
        Expect.stringContains verdict "shop" "the explain box"
        do! screenshot page $"explain-{name}"

        for other in
            [
                "/debug/route?protocol=http&index=0"
                "/debug/routes"
                "/debug/requests"
                "/debug/explain?method=GET&url=https%3A%2F%2Fshop.example%2F"
                "/debug/flagz"
            ] do
            let! answer = page.GotoAsync(kedge.DebugUrl other)
            Expect.equal (nonNull answer).Status 200 other
            let! found = violations rules page
            Expect.equal found [] $"barriers on {other}"

            if other.Contains "/route?" then
                do! screenshot page $"route-{name}"

        do! browser.CloseAsync()
        Expect.isEmpty errors "the console"
    }

// One browser at a time: it alone keeps the cores of a small machine busy.
[<Tests>]
let looks =
    testSequencedGroup
        "browser"
        (testList
            "status page in a browser"
            [
                for name, scheme, width, rules in
                    [
                        "light", ColorScheme.Light, 1280, []
                        // Only the colours depend on the scheme.
                        "dark", ColorScheme.Dark, 1280, [ "color-contrast" ]
                        "narrow", ColorScheme.Light, 390, []
                    ] do
                    case $"{name}: the explain box answers; no barrier on any page; no error in the console" (fun () ->
                        browse name scheme width rules)
            ])

[<Tests>]
let tests =
    testList
        "status page"
        [
            case "a route's page: its conditions, its demands, its latest requests, and where they go now" (fun () ->
                task {
                    use peer = new HttpPeer "paged"

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [ Json.httpRoute "shop" "shop.example"; Json.httpRoute "ghost" "ghost.example" ]
                                [],
                            Json.pool [ Json.backend "shop" peer.Port ] [],
                            []
                        )

                    use client = Clients.http1 kedge.HttpsPort None
                    let! _ = get client "https://shop.example/one" []
                    let! _ = get client "https://ghost.example/two" []
                    let! page = DebugPort.json kedge "/debug/route?protocol=http&index=0"
                    let route = page.GetProperty("route")[0]
                    Expect.equal (string (route.GetProperty "rule")) "host=shop.example" "conditions"
                    Expect.equal ((route.GetProperty "hits").GetInt64()) 1L "hits"
                    let requests = page.GetProperty "requests"
                    Expect.equal (requests.GetArrayLength()) 1 "requests of this route alone"
                    let explain = string (requests[0].GetProperty "explain")
                    let! explained = DebugPort.text kedge explain
                    Expect.stringContains explained "goes to backend shop" explain
                    let! missing = DebugPort.text kedge "/debug/route?protocol=http&index=99"
                    Expect.stringContains missing "no route at this place" "no such route"
                    let! wrong = DebugPort.text kedge "/debug/route?protocol=http&index=-1"
                    Expect.stringContains wrong "no route at this place" "not an index"
                })

            case "the search finds routes by words, page by page" (fun () ->
                task {
                    let host i = $"host-{i}.example"

                    use! kedge =
                        Kedge.Start(
                            Json.director [ for i in 1..250 -> Json.httpRoute $"backend-{i % 7}" (host i) ] [],
                            Json.pool [] [],
                            []
                        )

                    let rules (page: System.Text.Json.JsonElement) =
                        [
                            for route in page.GetProperty("routes").EnumerateArray() ->
                                string (route.GetProperty "rule")
                        ]

                    let! third = DebugPort.json kedge "/debug/routes?page=3"
                    Expect.equal (rules third) [ for i in 201..250 -> $"host={host i}" ] "the last page, in order"
                    Expect.equal ((third.GetProperty "pages").GetInt32()) 3 "pages"
                    let! found = DebugPort.json kedge "/debug/routes?q=HOST-24+backend-3"

                    Expect.equal
                        (rules found)
                        [
                            for i in 1..250 do
                                if (string i).StartsWith "24" && i % 7 = 3 then
                                    $"host={host i}"
                        ]
                        "all words, in any case"

                    let! none = DebugPort.text kedge "/debug/routes?q=%3Cscript%3E&page=abc"
                    Expect.stringContains none "No route has all these words" "nothing found"
                    Expect.isFalse (none.Contains "<script>") "the query is escaped"
                })

            case "kedge top: backends and routes with their rates, in a pipe" (fun () ->
                task {
                    use peer = new HttpPeer "top"

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [ Json.httpRoute "shop" "shop.example"; Json.httpRoute "ghost" "ghost.example" ]
                                [],
                            Json.pool [ Json.backend "shop" peer.Port ] [],
                            []
                        )

                    use client = Clients.http1 kedge.HttpsPort None

                    for _ in 1..3 do
                        let! _ = get client "https://shop.example/" []
                        ()

                    let root = kedge.DebugUrl "/"

                    let! outcome =
                        Shell.run $"kedge top --from={root} --count=2 --interval=200ms --rows=1"

                    Expect.equal (outcome.Code, outcome.Errors) (0, "") "ends by itself"

                    let pictures =
                        System.Text.RegularExpressions.Regex.Split(outcome.Output.Trim(), "(?m)^kedge ")
                        |> Array.skip 1

                    Expect.equal pictures.Length 2 outcome.Output
                    Expect.isMatch pictures[0] @"(?m)^http shop +1/1 +- +- +\S+ +\S+ +3$" "no rate yet"
                    Expect.isMatch pictures[1] @"(?m)^http shop +1/1 +0\.0 +0\.0 +\S+ +\S+ +3$" "a rate"
                    Expect.isMatch pictures[1] @"(?m)^http +0 host=shop\.example +shop +0\.0 +3$" "the route"
                    Expect.stringContains pictures[1] "and 1 more route; --rows shows more" "what is left out"
                    Expect.isFalse (outcome.Output.Contains '\u001b') "no colours in a pipe"

                    let! away = Shell.run $"kedge top --from=http://127.0.0.1:{Ports.free ()}"
                    Expect.equal away.Code 1 "nobody there"
                    Expect.stringContains away.Errors "/debug/status: Connection refused" "why"
                })

            case "traffic of the last minutes: rate, errors and p99 of the whole and of each backend" (fun () ->
                task {
                    use peer = new HttpPeer "traffic"

                    use! kedge =
                        Kedge.Start(
                            Json.director
                                [ Json.httpRoute "shop" "shop.example"; Json.httpRoute "ghost" "ghost.example" ]
                                [],
                            Json.pool [ Json.backend "shop" peer.Port ] [],
                            []
                        )

                    use client = Clients.http1 kedge.HttpsPort None

                    for host in [ "shop"; "shop"; "shop"; "ghost" ] do
                        let! _ = get client $"https://{host}.example/" []
                        ()

                    let sum (traffic: System.Text.Json.JsonElement) (name: string) =
                        let seconds = (traffic.GetProperty "seconds_per_point").GetDouble()

                        traffic.GetProperty(name).EnumerateArray()
                        |> Seq.sumBy (fun p -> p.GetDouble() * seconds)

                    do!
                        eventually "the point of these requests" (fun () ->
                            let status = (DebugPort.json kedge "/debug/status").GetAwaiter().GetResult()
                            sum (status.GetProperty "traffic") "requests_per_second" > 3.5)

                    let! status = DebugPort.json kedge "/debug/status"
                    let all = status.GetProperty "traffic"
                    Expect.floatClose Accuracy.medium (sum all "requests_per_second") 4.0 "all requests"
                    Expect.floatClose Accuracy.medium (sum all "errors_per_second") 1.0 "no backend of that name: 502"
                    let shop = status.GetProperty("backends").[0].GetProperty "traffic"
                    Expect.floatClose Accuracy.medium (sum shop "requests_per_second") 3.0 "those of the backend"
                    Expect.equal (sum shop "errors_per_second") 0.0 "none failed"
                    Expect.isGreaterThan (sum shop "p99_ms") 0.0 "a duration"
                    let! page = DebugPort.text kedge "/debug/status"
                    Expect.stringContains page "requests in the last 15 minutes: now" "the chart has words"
                    Expect.stringContains page "<polyline points=" "and a line"
                })
        ]
