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
        return $"{{ \"host_matcher\": \"{host}\", \"listener\": \"{listener}\", {action}{path} }}"
    }

let private load (routes: string list) : Configuration =
    let json = "{ \"http\": { \"routes\": [" + String.concat ", " routes + "] } }"

    match Configuration.Load("d", ReadOnlyMemory(Encoding.UTF8.GetBytes json), "", ReadOnlyMemory.Empty) with
    | loaded ->
        match loaded.Value with
        | null -> failtestf "%A" loaded.Errors
        | configuration -> configuration

/// What a client is sent to, by the reference router.
let private answer (configuration: Configuration) (plain: PlainDefault) (request: HttpRequest) =
    match Router.matchHttp configuration.Director.HttpRoutes request with
    | Some route ->
        match configuration.Director.HttpRoutes[route].Outcome.Action with
        | Redirects redirect -> Some(HttpRequest.location redirect request)
        | _ -> None
    | None when request.Listener = Decoded.Listener.Plain ->
        plain.Redirect
        |> Option.map (fun redirect -> HttpRequest.location redirect request)
    | None -> None

let private listenerOf (location: string) =
    if location.StartsWith "http://" then
        Decoded.Listener.Plain
    else
        Decoded.Listener.Tls

let private read (listener: Decoded.Listener) (url: string) : HttpRequest =
    match RequestText.parseOn listener ("GET", url, [], false, false) with
    | Ok(Http request) -> request
    | other -> failtestf "%s: %A" url other

/// Whether a request is redirected for ever. There are so few hosts, paths and schemes that more steps change nothing.
let private isEndless configuration plain start =
    let rec step count request =
        count = 0
        || (match answer configuration plain request with
            | Some location -> step (count - 1) (read (listenerOf location) location)
            | None -> false)

    step 50 start

[<Tests>]
let tests =
    testList
        "redirect loops"
        [
            Law.test
                "a loop is reported exactly when a request is redirected for ever, and its witness is one"
                1_000
                [ "loops", 200; "none", 50; "loops through the default", 10 ]
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

                        Expect.isTrue (isEndless configuration plain (read listener words[1])) finding.Message

                    let endless =
                        Seq.allPairs [ "http"; "https" ] (Seq.allPairs hosts [ "/x"; "/y" ])
                        |> Seq.exists (fun (scheme, (host, path)) ->
                            let url = $"{scheme}://{host}{path}"
                            isEndless configuration plain (read (listenerOf url) url))

                    Expect.equal (findings.Count > 0) endless "every loop is found here"
                    seen.When("loops", endless)
                    seen.When("none", (not endless && not routes.IsEmpty))

                    let without = RedirectLoop.Findings(configuration, AnswerNoRoute)
                    let isByDefault = without.Count < findings.Count
                    seen.When("loops through the default", isByDefault))
        ]
