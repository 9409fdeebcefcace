module Kedge.Tests.EndToEnd.StatusPageTests

open System.IO
open System.Collections.Concurrent
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Microsoft.Playwright

/// Debian's Chromium; `.ci/run` installs it.
let private chromium = "/usr/bin/chromium"

let private screenshots = Path.Combine(Executable.root, "artifacts", "screenshots")

[<Tests>]
let tests =
    testList
        "status page"
        [
            case "in a browser: light, dark and narrow; the explain box answers; no error in the console" (fun () ->
                task {
                    use peer = new HttpPeer "shown"
                    use other = new GrpcPeer "shown-calls"

                    use! kedge =
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
                                [ Json.backend "shop" peer.Port; Json.backend "archive" (Ports.free ()) ]
                                [ Json.backend "orders" other.Port ],
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

                    Directory.CreateDirectory screenshots |> ignore
                    use! playwright = Playwright.CreateAsync()

                    let! browser =
                        playwright.Chromium.LaunchAsync(
                            BrowserTypeLaunchOptions(
                                ExecutablePath = chromium,
                                Args = [ "--no-sandbox"; "--disable-gpu"; "--disable-dev-shm-usage" ]
                            )
                        )

                    let errors = ConcurrentQueue<string>()

                    for name, scheme, width in
                        [
                            "light", ColorScheme.Light, 1280
                            "dark", ColorScheme.Dark, 1280
                            "narrow", ColorScheme.Light, 390
                        ] do
                        let! page =
                            browser.NewPageAsync(
                                BrowserNewPageOptions(
                                    ColorScheme = scheme,
                                    ViewportSize = ViewportSize(Width = width, Height = 900)
                                )
                            )

                        page.Console.Add(fun message ->
                            if message.Type = "error" || message.Type = "warning" then
                                errors.Enqueue $"{name}: {message.Text}")

                        page.PageError.Add(fun error -> errors.Enqueue $"{name}: {error}")
                        let! _ = page.GotoAsync(kedge.DebugUrl "/debug/status")
                        let! alarm = page.InnerTextAsync "[role=alert]"
                        Expect.stringContains alarm "routs" "the refused change stands out"
                        let! routes = page.InnerTextAsync "#routes"
                        Expect.stringContains routes "shop.example" "routes"

                        let! overflow =
                            page.EvaluateAsync<bool>
                                "document.documentElement.scrollWidth > document.documentElement.clientWidth"

                        Expect.isFalse overflow $"{name}: the page does not scroll sideways"

                        let! _ =
                            page.ScreenshotAsync(
                                PageScreenshotOptions(
                                    Path = Path.Combine(screenshots, $"status-{name}.png"),
                                    FullPage = true
                                )
                            )

                        do! page.FillAsync("#url", "https://api.example:8443/v1/items")
                        do! page.ClickAsync "form.explain button"
                        let! _ = page.WaitForSelectorAsync ".verdict"
                        let! verdict = page.InnerTextAsync ".verdict"
                        Expect.stringContains verdict "shop" "the explain box"

                        let! _ =
                            page.ScreenshotAsync(
                                PageScreenshotOptions(
                                    Path = Path.Combine(screenshots, $"explain-{name}.png"),
                                    FullPage = true
                                )
                            )

                        for other in [ "/debug/requests"; "/debug/flagz" ] do
                            let! answer = page.GotoAsync(kedge.DebugUrl other)
                            Expect.equal (nonNull answer).Status 200 other

                        do! page.CloseAsync()

                    do! browser.CloseAsync()
                    Expect.isEmpty errors "the console"
                })
        ]
