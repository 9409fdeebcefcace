module Kedge.PropertyTests.RedirectLoopLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private hosts = [ "a.example"; "b.example"; "c.example" ]

/// Routes that redirect among a few hosts, paths and schemes, and some that do not redirect.
let private route =
    gen {
        let! host = Gen.elements hosts
        let! target = Gen.elements hosts
        let! listener = Gen.elements [ "TLS"; "TLS"; "PLAIN"; "ANY" ]
        let! status = Gen.elements [ 301; 302; 303; 307; 308 ]

        let! action =
            Gen.frequency
                [
                    3, Gen.constant $"\"redirect\": {{ \"host\": \"{target}\", \"status\": {status} }}"
                    1, Gen.constant $"\"redirect\": {{ \"scheme\": \"http\", \"host\": \"{target}\" }}"
                    1, Gen.constant "\"redirect\": { \"scheme\": \"https\" }"
                    1, Gen.constant "\"redirect\": { \"path\": { \"replace_full\": \"/x\" } }"
                    2, Gen.constant "\"respond\": { \"status\": 200 }"
                ]

        let! path = Gen.elements [ ""; ", \"path_rules\": [\"/x\"]" ]

        let! methods =
            Gen.frequency [ 9, Gen.constant ""; 1, Gen.elements [ "GET"; "POST" ] ]
            |> Gen.map (fun method -> if method = "" then "" else $", \"methods\": [\"{method}\"]")

        return $"{{ \"host_matcher\": \"{host}\", \"listener\": \"{listener}\", {action}{path}{methods} }}"
    }

let private load (routes: string list) : Configuration =
    let json = "{ \"http\": { \"routes\": [" + String.concat ", " routes + "] } }"

    match Configuration.Load("d", ReadOnlyMemory(Encoding.UTF8.GetBytes json), "", ReadOnlyMemory.Empty) with
    | loaded ->
        match loaded.Value with
        | null -> failtestf "%A" loaded.Errors
        | configuration -> configuration

/// What a client is sent to, with the status, by the reference router.
let private answer (configuration: Configuration) (plain: PlainDefault) (request: HttpRequest) =
    let sent (redirect: Redirect) = redirect.Status, HttpRequest.location redirect request

    match Router.matchHttp configuration.Director.HttpRoutes request with
    | Some route ->
        match configuration.Director.HttpRoutes[route].Outcome.Action with
        | Redirects redirect -> Some(sent redirect)
        | _ -> None
    | None when request.Listener = Decoded.Listener.Plain -> Option.map sent plain.Redirect
    | None -> None

let private listenerOf (location: string) =
    if location.StartsWith "http://" then
        Decoded.Listener.Plain
    else
        Decoded.Listener.Tls

let private read (listener: Decoded.Listener) (method: string) (url: string) : HttpRequest =
    match RequestText.parseOn listener (method, url, [], false, false) with
    | Ok(Http request) -> request
    | other -> failtestf "%s: %A" url other

/// What browsers send after a redirect (RFC 9110, 15.4).
let private methodAfter (method: string) (status: int) =
    match method, status with
    | "POST", (301 | 302)
    | _, 303 -> "GET"
    | _ -> method

/// Whether a request is redirected forever. There are so few hosts, paths and schemes that more steps change nothing.
let private isEndless configuration plain start =
    let rec step count (request: HttpRequest) =
        count = 0
        || (match answer configuration plain request with
            | Some(status, location) ->
                step (count - 1) (read (listenerOf location) (methodAfter request.Method status) location)
            | None -> false)

    step 50 start

[<Tests>]
let tests =
    testList
        "redirect loops"
        [
            Law.test
                "a loop is reported exactly when a request is redirected forever, and its witness is one"
                1_000
                [
                    "loops", 200
                    "none", 50
                    "loops through the default", 10
                    "a POST that becomes a GET", 20
                ]
                (Gen.zip (Gen.listOf route |> Gen.resize 6) (Gen.elements [ AnswerNoRoute; RedirectToHttps 443us ])
                 |> Arb.fromGen)
                (fun seen (routes, plain) ->
                    let configuration = load routes
                    let findings = RedirectLoop.Findings(configuration, plain)

                    for finding in findings do
                        Expect.equal finding.Kind "redirect-loop" ""
                        let words = finding.Witnesses[0].Split ' '
                        let isPlain = Array.contains "--listener=plain" words

                        let listener =
                            if isPlain then
                                Decoded.Listener.Plain
                            else
                                Decoded.Listener.Tls

                        Expect.isTrue (isEndless configuration plain (read listener words[0] words[1])) finding.Message

                    let hasMethods = routes |> List.exists _.Contains("methods")

                    let endless =
                        Seq.allPairs [ "http"; "https" ] (Seq.allPairs hosts [ "/x"; "/y" ])
                        |> Seq.exists (fun (scheme, (host, path)) ->
                            let url = $"{scheme}://{host}{path}"
                            isEndless configuration plain (read (listenerOf url) "GET" url))

                    // Of the methods that no route names, one is followed.
                    if not hasMethods then
                        Expect.equal (findings.Count > 0) endless "every loop is found here"

                    seen.When(
                        "a POST that becomes a GET",
                        hosts
                        |> List.exists (fun host ->
                            match
                                answer configuration plain (read Decoded.Listener.Tls "POST" $"https://{host}/x")
                            with
                            | Some(status, _) -> hasMethods && methodAfter "POST" status = "GET"
                            | None -> false)
                    )

                    seen.When("loops", endless)
                    seen.When("none", (not endless && not routes.IsEmpty))

                    let without = RedirectLoop.Findings(configuration, AnswerNoRoute)
                    let isByDefault = without.Count < findings.Count
                    seen.When("loops through the default", isByDefault))
        ]
