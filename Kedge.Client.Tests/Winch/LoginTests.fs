/// Logins to an OpenID Connect provider, and what becomes of their tokens.
module Kedge.Client.Tests.Winch.LoginTests

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Http
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Client.Tests.Behind
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

let private lines (text: string array) = String.Join('\n', text)

/// A browser: follows redirects, also to winch.
let private visit (url: string) =
    task {
        use! response = Winch.Direct.GetAsync url
        let! text = response.Content.ReadAsStringAsync()
        return response.StatusCode, text
    }

/// One that reports how each request went, behind a peer that takes every token.
let private stage (double: OidcDouble) (more: string) =
    let scratch = new Scratch()

    let mapper =
        mapper
            [
                route "^[a-z]+[.]prod[.]test$" (httpKedge ()) """ "backend_auth": "sso", "proxy_auth": "proxy" """
            ]

    let sources =
        double.Sources(more).Replace("[ {", $$"""[ { "name": "proxy", "token": { "token": "{{proxySecret}}" } }, {""")

    let flags =
        [
            $"""--server_mapper_config_path={scratch.Write("mapper.json", mapper)}"""
            $"""--server_auth_config_path={scratch.Write("auth.json", sources)}"""
        ]

    scratch, flags

let private ask (own: Winch) (path: string) = curl [ "-i"; "--proxy"; own.Proxy; $"http://shop.prod.test{path}" ]

let private token (path: string) = (backend.Value.ReceivedOn path |> Array.last).Header "Authorization"

/// Runs `winch login`, visiting the address that it prints.
let private login (scratch: Scratch) (flags: string list) (visits: string -> Task<unit>) =
    task {
        use program =
            new KedgeProgram(
                Winch.Executable,
                "login" :: flags,
                scratch.Path,
                Winch.Home scratch.Path @ [ "DISPLAY", ":77" ],
                true
            )

        let found () =
            program.Stdout
            |> Array.tryPick (fun line ->
                let found = Regex.Match(line, @"http://\S+")
                if found.Success then Some found.Value else None)

        do! eventually "an address to log in at" (fun () -> found().IsSome || program.HasExited)

        match found () with
        | Some url -> do! visits url
        | None -> failtestf "no address:\n%s" program.Output

        let! code = program.Exit()
        return code, program.Output
    }

let private visits (url: string) =
    task {
        let! status, text = visit url
        Expect.equal status HttpStatusCode.OK text
    }

[<Tests>]
let tests =
    testList
        "winch, logins"
        [
            case "a request without a login says what to do; after a login in the browser it works" (fun () ->
                task {
                    use double = new OidcDouble()
                    let scratch, flags = stage double ""
                    use! own = Winch.StartIn(scratch, flags, [], Ports.free ())
                    let! _, answer = ask own "/login/before"
                    Expect.stringContains answer "HTTP/1.1 511" "login required"
                    Expect.stringContains answer "X-Winch-Error-Type: login-required" "type"
                    Expect.stringContains answer "run: winch login sso" "what to do"

                    let wanted = "http://shop.prod.test/wanted?x=1"

                    for port in [ own.Port; own.GrpcPort ] do
                        let! _, page =
                            curl
                                [
                                    "-i"
                                    "--proxy"
                                    $"http://127.0.0.1:{port}"
                                    "-H"
                                    "Accept: text/html"
                                    wanted
                                ]

                        Expect.stringContains page "Log in to sso" "a button"
                        Expect.stringContains page $"action=\"{own.Proxy}/\"" "on the port that has pages"
                        Expect.stringContains page wanted "the address to return to"

                    use channel = channelTo own.GrpcPort "shop.prod.test:50051"

                    let! error =
                        failure<RpcException> "the call" (fun () ->
                            (Echo.EchoClient channel).UnaryAsync(EchoRequest()).ResponseAsync)

                    Expect.equal error.StatusCode StatusCode.Unauthenticated "a call"
                    Expect.stringContains error.Status.Detail "run: winch login sso" "what to do"

                    // The page's form: POST with the page's token, then the provider, then back to winch.
                    let! pageToken = Winch.Direct.GetStringAsync(own.Url "/winch/page-token")
                    use client = new HttpClient(new SocketsHttpHandler(UseProxy = false))
                    client.DefaultRequestHeaders.Add("Accept", "text/html")

                    use! done_ =
                        client.PostAsync(
                            own.Url "/winch/login/sso",
                            new FormUrlEncodedContent(dict [ "page_token", pageToken; "return_to", wanted ])
                        )

                    let! text = done_.Content.ReadAsStringAsync()
                    Expect.stringContains text "Logged in to sso" "logged in"
                    Expect.stringContains text wanted "and back"

                    do!
                        soon
                            patience
                            "a request with a token"
                            (fun () -> ask own "/login/after")
                            (snd >> _.Contains("HTTP/1.1 200"))

                    Expect.stringStarts (token "/login/after") "Bearer ey" "the ID token"
                })

            case "winch login: browser, device and keyboard; token, logout" (fun () ->
                task {
                    use double = new OidcDouble()
                    let scratch, flags = stage double ", \"open_browser\": false"
                    use _ = scratch
                    let port = $"--server_http_port={Ports.free ()}"

                    let flags =
                        port :: List.filter (fun (flag: string) -> not (flag.Contains "mapper")) flags

                    let! code, output = login scratch ("sso" :: flags) visits
                    Expect.equal code 0 output
                    Expect.stringContains output "logged in to sso" "browser"

                    let ask command =
                        Shell.runIn scratch.Path (Winch.Home scratch.Path) $"{Winch.Executable} {command}"

                    let given = String.Join(' ', flags)
                    let! outcome = ask $"token sso {given}"
                    Expect.equal (outcome.Output.Split '.').Length 3 "a JSON Web Token"
                    let file = Directory.GetFiles(scratch.File "tokens", "token_*") |> Array.head
                    Expect.equal (Path.GetFileName file) "token_winch_winch-tests" "the file of the Go implementation"

                    Expect.equal
                        (File.GetUnixFileMode file)
                        (UnixFileMode.UserRead ||| UnixFileMode.UserWrite)
                        "for its user only"

                    let! outcome = ask $"login sso {given}"
                    Expect.stringContains outcome.Output "already logged in to sso" "again"
                    let! outcome = ask $"logout sso {given}"
                    Expect.equal outcome.Code 0 outcome.Errors
                    let! outcome = ask $"token sso {given}"
                    Expect.equal outcome.Code 1 "logged out"
                    Expect.stringContains outcome.Errors "run: winch login sso" "says what to do"
                    // A code that a person enters elsewhere.
                    let! code, output =
                        login scratch ("--device" :: "sso" :: flags) (fun _ -> Task.FromResult())

                    Expect.equal code 0 output
                    Expect.stringContains output "enter the code WDJB-MJHT" "device"
                })

            case "winch login by keyboard: the address at which the browser ends is pasted" (fun () ->
                task {
                    use double = new OidcDouble()
                    let scratch, flags = stage double ", \"flow\": \"keyboard\""
                    use _ = scratch
                    let flags = List.filter (fun (flag: string) -> not (flag.Contains "mapper")) flags

                    let info =
                        ProcessStartInfo(
                            Winch.Executable,
                            "login" :: flags,
                            RedirectStandardInput = true,
                            RedirectStandardOutput = true,
                            RedirectStandardError = true
                        )

                    for name, value in Winch.Home scratch.Path do
                        info.Environment[name] <- value

                    use running = nonNull (Process.Start info)
                    let! line = running.StandardOutput.ReadLineAsync() |> within "the address"
                    use handler = new SocketsHttpHandler(UseProxy = false, AllowAutoRedirect = false)
                    use client = new HttpClient(handler)
                    use! redirect = client.GetAsync((nonNull line).Split(' ')[1])
                    do! running.StandardInput.WriteLineAsync(string redirect.Headers.Location)
                    let! rest = running.StandardOutput.ReadToEndAsync() |> within "the end"
                    Expect.stringContains rest "logged in to sso" "logged in"
                })

            case "two winches on one store refresh a rotating token once" (fun () ->
                task {
                    use double = new OidcDouble()
                    // Refreshed at once: less than the margin is left.
                    double.Lifetime <- 5
                    let scratch, flags = stage double ", \"open_browser\": false"
                    let port = $"--server_http_port={Ports.free ()}"

                    let! code, output =
                        login
                            scratch
                            ("sso"
                             :: port
                             :: List.filter (fun (flag: string) -> not (flag.Contains "mapper")) flags)
                            visits

                    Expect.equal code 0 output
                    use! first = Winch.StartIn(scratch, flags, [], Ports.free ())
                    let other = new Scratch()

                    let copied =
                        [
                            $"""--server_mapper_config_path={other.Write("mapper.json", File.ReadAllText(scratch.File "mapper.json"))}"""
                            $"""--server_auth_config_path={other.Write("auth.json", File.ReadAllText(scratch.File "auth.json").Replace("$HOME", scratch.Path))}"""
                        ]

                    use! second = Winch.StartIn(other, copied, [], Ports.free ())
                    double.Lifetime <- 300

                    let! answers =
                        Task.WhenAll
                            [
                                for _ in 1..4 do
                                    ask first "/login/race"
                                    ask second "/login/race"
                            ]

                    for _, answer in answers do
                        Expect.stringContains answer "HTTP/1.1 200" answer

                    Expect.equal double.Refreshes 1 "one refresh"
                    Expect.equal double.Reuses 0 "no refresh token came twice"

                    Expect.equal
                        (backend.Value.ReceivedOn "/login/race"
                         |> Array.map (_.Header("Authorization"))
                         |> Array.distinct)
                            .Length
                        1
                        "the same token"
                })

            case "a session that the provider ends is a sentence, and opens one tab" (fun () ->
                task {
                    use double = new OidcDouble()
                    double.Lifetime <- 5
                    let browser = new Scratch()
                    let opened = browser.File "opened"
                    let script = browser.Write("browser.sh", $"#!/bin/sh\necho \"$1\" >> {opened}\n")
                    File.SetUnixFileMode(script, UnixFileMode.UserRead ||| UnixFileMode.UserExecute)
                    let scratch, flags = stage double $", \"browser_command\": \"{script}\""
                    let port = $"--server_http_port={Ports.free ()}"

                    let! code, output =
                        login
                            scratch
                            ("sso"
                             :: port
                             :: List.filter (fun (flag: string) -> not (flag.Contains "mapper")) flags)
                            visits

                    Expect.equal code 0 output
                    File.Delete opened
                    use! own = Winch.StartIn(scratch, flags, [], Ports.free ())
                    double.Revoke()

                    for _ in 1..5 do
                        let! _, answer = ask own "/login/revoked"
                        Expect.stringContains answer "HTTP/1.1 511" "login required"
                        Expect.stringContains answer "run: winch login sso" "says what to do"

                    do! eventually "a browser" (fun () -> File.Exists opened)

                    do!
                        Absence.during (TimeSpan.FromSeconds 3.0) "a second tab" (fun () ->
                            task {
                                let! _ = ask own "/login/revoked"
                                return (File.ReadAllLines opened).Length > 1
                            })

                    Expect.equal double.Reuses 1 "the provider was asked once"
                    (browser :> IDisposable).Dispose()
                })

            case "a provider that is away: winch starts, serves other routes, and recovers" (fun () ->
                task {
                    use double = new OidcDouble()
                    double.IsAway <- true
                    let scratch, flags = stage double ""
                    use! own = Winch.StartIn(scratch, flags, [], Ports.free ())
                    let! page = Winch.Direct.GetAsync(own.Url "/")
                    Expect.equal page.StatusCode HttpStatusCode.OK "the status page"
                    let! _, answer = ask own "/login/away"
                    Expect.stringContains answer "HTTP/1.1 511" "nobody has logged in"
                    let! pageToken = Winch.Direct.GetStringAsync(own.Url "/winch/page-token")
                    use request = new HttpRequestMessage(HttpMethod.Post, own.Url "/winch/login/sso")
                    request.Headers.Add("X-Winch-Page-Token", pageToken)
                    use! failed = Winch.Direct.SendAsync request
                    let! text = failed.Content.ReadAsStringAsync()
                    Expect.equal failed.StatusCode HttpStatusCode.BadGateway "no login"
                    Expect.stringContains text "cannot be reached" "says why"
                    double.IsAway <- false
                    use request = new HttpRequestMessage(HttpMethod.Post, own.Url "/winch/login/sso")
                    request.Headers.Add("X-Winch-Page-Token", pageToken)
                    use! begun = Winch.Direct.SendAsync request
                    let! url = begun.Content.ReadAsStringAsync()
                    do! visits url
                    double.IsAway <- true
                    // The token is valid still: the provider is not needed.
                    do! soon patience "a request" (fun () -> ask own "/login/away") (snd >> _.Contains("HTTP/1.1 200"))

                    use! again =
                        Winch.StartIn(
                            new Scratch(),
                            flags |> List.map (fun flag -> flag),
                            [ "HOME", scratch.Path ],
                            Ports.free ()
                        )

                    let! _, answer = ask again "/login/away"
                    Expect.stringContains answer "HTTP/1.1 200" "and a second winch takes it from the store"
                })

            case "a forged answer of the browser ends no login" (fun () ->
                task {
                    use double = new OidcDouble()
                    let scratch, flags = stage double ""
                    use! own = Winch.StartIn(scratch, flags, [], Ports.free ())

                    for query in [ ""; "?code=x"; "?code=x&state=y"; "?error=access_denied&state=y" ] do
                        let! status, text = visit (own.Url $"/winch/callback{query}")
                        Expect.equal status HttpStatusCode.BadRequest query
                        Expect.stringContains text "belongs to no login in progress" query

                    let! pageToken = Winch.Direct.GetStringAsync(own.Url "/winch/page-token")
                    use request = new HttpRequestMessage(HttpMethod.Post, own.Url "/winch/login/sso")
                    request.Headers.Add("X-Winch-Page-Token", pageToken)
                    use! begun = Winch.Direct.SendAsync request
                    let! url = begun.Content.ReadAsStringAsync()
                    let! status, _ = visit (own.Url "/winch/callback?code=stolen&state=guessed")
                    Expect.equal status HttpStatusCode.BadRequest "forged while one is in progress"
                    do! visits url
                })
        ]
