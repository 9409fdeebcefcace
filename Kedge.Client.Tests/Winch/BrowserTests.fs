/// Chromium with the proxy auto-configuration of winch.
module Kedge.Client.Tests.Winch.BrowserTests

open System
open System.Threading.Tasks
open Expecto
open Kedge.Client.Tests.Behind
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness
open Microsoft.AspNetCore.Http
open Microsoft.Playwright

let private page (body: string) (context: HttpContext) : Task =
    context.Response.ContentType <- "text/html"
    context.Response.WriteAsync $"<!doctype html><title>page</title>{body}"

/// What a fetch in the page comes to: the status, or that it failed.
let private fetch (page: IPage) (url: string) (options: string) =
    page.EvaluateAsync<string>($"fetch('{url}', {options}).then(r => r.type + ' ' + r.status, () => 'failed')")

[<Tests>]
let tests =
    testList
        "winch, in a browser"
        [
            case "a page, its requests and its WebSocket work; a page of another site gets nothing" (fun () ->
                task {
                    use stranger = new HttpPeer "stranger"
                    stranger.On("/page", page "stranger")
                    backend.Value.On("/own-page", page "<h1>by its own name</h1>")

                    use! playwright = Playwright.CreateAsync()

                    use! browser =
                        Browser.launch playwright [ $"""--proxy-pac-url={winch.Value.Url "/proxy.pac"}""" ]

                    let! own = browser.NewPageAsync()
                    let! answer = own.GotoAsync "http://with-service.prod.test/own-page"
                    Expect.equal (nonNull answer).Status 200 "the page"
                    let! heading = own.InnerTextAsync "h1"
                    Expect.equal heading "by its own name" "its content"
                    let! same = fetch own "/fetched-by-own-page" "{ method: 'POST', body: 'x' }"
                    Expect.equal same "basic 200" "a request of the page itself"
                    let received = backend.Value.One "/fetched-by-own-page"
                    Expect.equal (received.Header "Authorization") $"Bearer {backendSecret}" "with the credentials"

                    let! echo =
                        own.EvaluateAsync<string>
                            "new Promise((done, failed) => {
                               const socket = new WebSocket('ws://plain.prod.test/ws');
                               socket.onopen = () => socket.send('hello');
                               socket.onmessage = message => done(message.data);
                               socket.onerror = () => failed('no WebSocket');
                             })"

                    Expect.equal echo "hello" "a WebSocket"

                    let! other = browser.NewPageAsync()
                    let! _ = other.GotoAsync $"http://localhost:{stranger.Port}/page"

                    for options in
                        [
                            "{}"
                            "{ mode: 'no-cors' }"
                            "{ mode: 'no-cors', method: 'POST', body: 'x' }"
                            "{ method: 'PUT' }"
                            "{ credentials: 'include' }"
                        ] do
                        let! outcome = fetch other "http://with-service.prod.test/stolen" options
                        Expect.isTrue (outcome = "failed" || outcome = "opaque 0") $"{options}: {outcome}"

                    let! socket =
                        other.EvaluateAsync<string>
                            "new Promise(done => {
                               const socket = new WebSocket('ws://with-service.prod.test/ws');
                               socket.onopen = () => done('open');
                               socket.onerror = () => done('refused');
                             })"

                    Expect.equal socket "refused" "a WebSocket of another site"

                    for path in [ "/winch/page-token"; "/winch/status"; "/" ] do
                        let! outcome = fetch other (winch.Value.Url path) "{}"
                        Expect.equal outcome "failed" $"winch's own page {path}"

                    Expect.isEmpty (backend.Value.ReceivedOn "/stolen") "nothing reached the service"
                    do! browser.CloseAsync()
                })
        ]
