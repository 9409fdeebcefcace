module Kedge.Tests.EndToEnd.HostileTests

open System
open System.Net.Http
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// Bytes that no decent client sends.
let private requests =
    [
        "no host", "GET / HTTP/1.1\r\n\r\n"
        "empty host", "GET / HTTP/1.1\r\nHost: \r\n\r\n"
        "two hosts", "GET / HTTP/1.1\r\nHost: alpha.example\r\nHost: beta.example\r\n\r\n"
        "port out of range", "GET / HTTP/1.1\r\nHost: alpha.example:99999\r\n\r\n"
        "port zero", "GET / HTTP/1.1\r\nHost: alpha.example:0\r\n\r\n"
        "port of letters", "GET / HTTP/1.1\r\nHost: alpha.example:http\r\n\r\n"
        "brackets that do not close", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"
        "userinfo", "GET / HTTP/1.1\r\nHost: user@alpha.example\r\n\r\n"
        "blank in the host", "GET / HTTP/1.1\r\nHost: alpha .example\r\n\r\n"
        "absolute target without host", "GET http:///x HTTP/1.1\r\nHost: alpha.example\r\n\r\n"
        "foreign scheme", "GET ftp://alpha.example/ HTTP/1.1\r\nHost: alpha.example\r\n\r\n"
        "path above the root", "GET /../../etc/passwd HTTP/1.1\r\nHost: nowhere.example\r\n\r\n"
        "bad percent-encoding", "GET /%zz HTTP/1.1\r\nHost: nowhere.example\r\n\r\n"
        "encoded NUL", "GET /%00 HTTP/1.1\r\nHost: nowhere.example\r\n\r\n"
        "CONNECT", "CONNECT alpha.example:443 HTTP/1.1\r\nHost: alpha.example:443\r\n\r\n"
        "asterisk", "GET * HTTP/1.1\r\nHost: nowhere.example\r\n\r\n"
        "length and chunks",
        "POST / HTTP/1.1\r\nHost: alpha.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        "two lengths", "POST / HTTP/1.1\r\nHost: alpha.example\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"
        "negative length", "POST / HTTP/1.1\r\nHost: alpha.example\r\nContent-Length: -1\r\n\r\n"
        "no HTTP at all", "\u0000\u0001\u0002\u0003\r\n\r\n"
        "headers of 100 kB",
        "GET / HTTP/1.1\r\nHost: alpha.example\r\nX: "
        + String('x', 100_000)
        + "\r\n\r\n"
    ]

[<Tests>]
let tests =
    testList
        "hostile input"
        [
            for name, request in requests do
                case $"{name}: an error or a closed connection, and no stack trace" (fun () ->
                    task {
                        use! client = RawClient.Connect kedge.Value.HttpsPort
                        do! client.Write(request.Replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
                        let! answer = client.ReadToEnd()

                        if answer <> "" then
                            Expect.stringStarts answer "HTTP/1.1 " "an HTTP answer"
                            let status = int (answer.Substring(9, 3))
                            Expect.isTrue (status >= 400) $"an error, but it was: {answer}"
                            Expect.isFalse (answer.Contains "   at ") $"a stack trace: {answer}"
                            Expect.isFalse (answer.Contains "Exception") $"an exception: {answer}"
                    })

            case "the server lives on" (fun () ->
                task {
                    for _, request in requests do
                        use! client = RawClient.Connect kedge.Value.HttpsPort
                        do! client.Write request

                    let! answer = get (http1 ()) "https://alpha.example/alive" []
                    Expect.equal (answer.Status, answer.Body) (200, "alpha") "answer"
                    Expect.isFalse kedge.Value.Program.HasExited "running"
                })

            case "the health page is not reachable on the proxy ports" (fun () ->
                task {
                    for path in [ "/_healthz"; "/_version"; "/metrics"; "/debug/flagz" ] do
                        let! answer = get (http1 ()) $"https://nowhere.example{path}" []
                        Expect.equal (answer.Header "X-Kedge-Error-Type") "no-route" path
                        let! answer = get (http1 ()) $"https://alpha.example{path}" []
                        Expect.equal answer.Body "alpha" "the backend's own page"
                })
        ]

[<Tests>]
let debugPort =
    testList
        "debug port"
        [
            case "/_healthz and /_version answer, proxied hosts do not" (fun () ->
                task {
                    use client = new HttpClient()
                    let! health = client.GetStringAsync(kedge.Value.DebugUrl "/_healthz")
                    Expect.equal (health.Trim()) "kedge isok" "health"
                    let! version = client.GetStringAsync(kedge.Value.DebugUrl "/_version")
                    use json = Text.Json.JsonDocument.Parse version
                    Expect.equal json.RootElement.ValueKind Text.Json.JsonValueKind.Object "a JSON object"

                    let request =
                        new HttpRequestMessage(HttpMethod.Get, kedge.Value.DebugUrl "/some/path")

                    request.Headers.Host <- "alpha.example"
                    use! proxied = client.SendAsync request
                    Expect.equal (int proxied.StatusCode) 404 "never proxied"
                })
        ]
