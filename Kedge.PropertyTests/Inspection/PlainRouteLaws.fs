/// What `kedge check` says about routes on the plain-HTTP listener, compared with every request of a small world.
module Kedge.PropertyTests.PlainRouteLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private hosts = [ "a.example"; "b.a.example"; "other" ]
let private paths = [ "/x"; "/z" ]

let private route =
    gen {
        let! host = Gen.elements [ ""; "a.example"; "*.a.example" ]
        let! listener = Gen.elements [ "TLS"; "PLAIN"; "ANY" ]
        let! rules = Gen.frequency [ 2, Gen.constant ""; 1, Gen.constant "\"/x\"" ]

        let! action =
            Gen.frequency
                [
                    3, Gen.constant "\"backend_name\": \"one\""
                    1,
                    Gen.constant
                        "\"backend_name\": \"one\", \"authorization\": { \"client_cert_sans\": [\"c.example\"] }"
                    1, Gen.constant "\"respond\": { \"status\": 200 }"
                ]

        return $"{{ \"host_matcher\": \"{host}\", \"listener\": \"{listener}\", \"path_rules\": [{rules}], {action} }}"
    }

let private load (routes: string list) : Configuration =
    let json = "{ \"http\": { \"routes\": [" + String.concat ", " routes + "] } }"

    match Configuration.Load("d", ReadOnlyMemory(Encoding.UTF8.GetBytes json), "", ReadOnlyMemory.Empty) with
    | loaded ->
        match loaded.Value with
        | null -> failtestf "%A" loaded.Errors
        | configuration -> configuration

let private winners (routes: HttpRoute array) : Set<int> =
    Set
        [
            for host in hosts do
                for path in paths do
                    let request: HttpRequest =
                        {
                            Method = "GET"
                            Host = host
                            Ports = AuthorityPorts.Unspecified
                            Path = path
                            Query = ""
                            Mode = Decoded.ProxyMode.ReverseProxy
                            Listener = Decoded.Listener.Plain
                            Headers = []
                        }

                    yield! Option.toList (Router.matchHttp routes request)
        ]

[<Tests>]
let tests =
    testList
        "routes in clear text"
        [
            Law.test
                "plain-exposed-route: exactly the routes to which a request in clear text goes, and on to a backend"
                2_000
                [ "exposed", 1_000; "not reached", 200; "without a backend", 200 ]
                (Gen.zip (Gen.listOf route |> Gen.resize 5) (Gen.elements [ true; false ])
                 |> Arb.fromGen)
                (fun seen (json, isRequired) ->
                    let configuration = load json
                    let routes = configuration.Director.HttpRoutes
                    let findings = PlainRoutes.Findings(configuration, isRequired)
                    let reached = winners routes

                    let forwards index = not routes[index].Outcome.Action.Backends.IsEmpty
                    let isPlain index = routes[index].Listener <> Decoded.Listener.Tls
                    let all = [ 0 .. routes.Length - 1 ]

                    let expected =
                        [
                            for index in all do
                                if reached.Contains index && forwards index then
                                    "plain-exposed-route", $"$.http.routes[{index}]"

                                if
                                    routes[index].Outcome.Demands.IsSome
                                    && routes[index].Listener = Decoded.Listener.Plain
                                then
                                    "demand-cannot-be-met", $"$.http.routes[{index}].authorization.client_cert_sans"
                        ]

                    Expect.equal
                        [ for finding in findings -> finding.Kind, finding.Path ]
                        expected
                        (String.concat ", " json)

                    for finding in findings do
                        if finding.Kind = "plain-exposed-route" then
                            let severity = if isRequired then Severity.Error else Severity.Info
                            Expect.equal finding.Severity severity "an error where authorization is required"
                            let witness = Seq.exactlyOne finding.Witnesses
                            Expect.stringContains witness "--listener=plain" "its request is in clear text"

                    seen.When("exposed", not expected.IsEmpty)

                    seen.When(
                        "not reached",
                        all
                        |> List.exists (fun index -> isPlain index && forwards index && not (reached.Contains index))
                    )

                    seen.When(
                        "without a backend",
                        all |> List.exists (fun index -> isPlain index && not (forwards index))
                    ))
        ]
