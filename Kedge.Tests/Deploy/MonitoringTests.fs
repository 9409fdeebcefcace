/// The Grafana dashboard and the Prometheus alerts of misc/deploy: everything that they name is there in a real kedge, and
/// their form is what Grafana and Prometheus take.
module Kedge.Tests.Deploy.MonitoringTests

open System
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open k8s
open Kedge.Tests.Core
open Kedge.Tests.EndToEnd
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes

/// Labels that Prometheus adds to what it scrapes.
let private targetLabels = set [ "job"; "instance"; "namespace"; "pod" ]

let private dashboard =
    lazy JsonDocument.Parse(File.ReadAllText(SourceTree.path "misc/deploy/components/dashboard/kedge.json")).RootElement

let private rulesFile =
    SourceTree.path "misc/deploy/components/prometheusrule/prometheusrule.yaml"

/// The `spec` of the PrometheusRule, as a rule file.
let private ruleFile =
    lazy
        (let lines = File.ReadAllLines rulesFile
         let start = Array.IndexOf(lines, "spec:")
         Expect.isGreaterThan start 0 "the rules are below spec"

         lines[start + 1 ..]
         |> Array.map (fun line -> if line.StartsWith "  " then line[2..] else line))

/// A question to Prometheus, and the labels that the words about its answer name.
type private Question =
    {
        Place: string
        Expression: string
        Spoken: string list
    }

let private elements (name: string) (element: JsonElement) = List.ofSeq (element.GetProperty(name).EnumerateArray())
let private text (name: string) (element: JsonElement) = string (element.GetProperty(name).GetString())
let private number (name: string) (element: JsonElement) = element.GetProperty(name).GetInt32()

let private panels = lazy (elements "panels" dashboard.Value)

let private ofDashboard =
    lazy
        [
            for panel in panels.Value do
                for target in elements "targets" panel do
                    {
                        Place = "panel " + text "title" panel
                        Expression = text "expr" target
                        Spoken =
                            [
                                for found in Regex.Matches(text "legendFormat" target, @"\{\{\s*(\w+)\s*\}\}") do
                                    found.Groups[1].Value
                            ]
                    }
        ]

type Rule() =
    member val alert = "" with get, set
    member val expr = "" with get, set
    member val ``for`` = "" with get, set
    member val labels = System.Collections.Generic.Dictionary<string, string>() with get, set
    member val annotations = System.Collections.Generic.Dictionary<string, string>() with get, set

type Group() =
    member val name = "" with get, set
    member val rules = System.Collections.Generic.List<Rule>() with get, set

type RuleFile() =
    member val groups = System.Collections.Generic.List<Group>() with get, set

let private ofAlerts =
    lazy
        [
            let file =
                KubernetesYaml.Deserialize<RuleFile>(String.Join('\n', ruleFile.Value), true)

            for group in file.groups do
                for rule in group.rules do
                    {
                        Place = $"alert {rule.alert}"
                        Expression = rule.expr
                        Spoken =
                            [
                                for annotation in rule.annotations.Values do
                                    for found in Regex.Matches(annotation, @"\$labels\.(\w+)") do
                                        found.Groups[1].Value
                            ]
                    }
        ]

let private questions = lazy (ofDashboard.Value @ ofAlerts.Value)

/// The labels of each metric of a kedge that was used, also for what a cluster tells.
let exposed =
    lazy
        (task {
            use api = new ApiServer()
            // Two that claim one host.
            api.Play
                [
                    for space in [ "default"; "other" ] -> Manifest.exposed space "web" [ "http", 80, "80" ]
                ]

            let flags =
                [
                    $"--server_tls_client_ca_files={Certificates.authority.Value.File}"
                    "--server_tls_client_cert_required=false"
                    "--transport=epoll"
                    yield! api.DiscoveryFlags
                ]

            let! http, grpc, kedge = TelemetryStage.start flags []
            use _ = http
            use _ = grpc
            use kedge = kedge
            do! TelemetryStage.exercise kedge

            http.On(
                "/busy",
                fun context ->
                    context.Response.StatusCode <- 503
                    Task.CompletedTask
            )

            use client = Clients.http1 kedge.HttpsPort None
            let! _ = Stage.get client "https://busy.example/busy" []
            let! _ = Stage.get client "https://divided.example/" []
            let mutable samples = []

            // The watches have a last event when they have heard of one, and keys an age when they are fetched.
            do!
                eventually "an event of a watch" (fun () ->
                    api.Play [ Bookmark ]
                    samples <- (DebugPort.samples kedge).Result

                    [ "kedge_watch_last_event_timestamp_seconds"; "kedge_issuer_keys_age_seconds" ]
                    |> List.forall (fun name -> samples |> List.exists (fun s -> s.Name = name)))

            return
                samples
                |> List.groupBy _.Name
                |> List.map (fun (name, samples) -> name, samples |> List.collect (_.Labels.Keys >> List.ofSeq) |> set)
                |> Map
        })

[<Tests>]
let names =
    testList
        "dashboard and alerts"
        [
            case "name metrics and labels that a real kedge has" (fun () ->
                task {
                    let! exposed = exposed.Value
                    Expect.isGreaterThan ofDashboard.Value.Length 15 "questions of the dashboard"
                    Expect.isGreaterThan ofAlerts.Value.Length 7 "questions of the alerts"

                    for question in questions.Value do
                        let names = PromQl.read question.Expression
                        Expect.isNonEmpty names.Selectors question.Place

                        for metric, selected in names.Selectors do
                            match exposed.TryFind metric with
                            | None -> failtestf "%s: kedge has no metric %s" question.Place metric
                            | Some labels ->
                                let unknown = set (selected @ names.Grouping) - labels - targetLabels
                                Expect.isEmpty unknown $"{question.Place}: labels that {metric} does not have"

                        // What is left of an answer's labels: those that it is grouped by, or all of them.
                        let left =
                            if names.Grouping.IsEmpty then
                                names.Selectors
                                |> List.map (fun (metric, _) -> exposed[metric])
                                |> Set.unionMany
                                |> (+) targetLabels
                            else
                                set names.Grouping

                        Expect.isEmpty
                            (set question.Spoken - left)
                            $"{question.Place}: words about labels that are gone"
                })

            case "are PromQL, says promtool" (fun () ->
                task {
                    use scratch = new Scratch()
                    scratch.Write("alerts.yaml", String.Join('\n', ruleFile.Value)) |> ignore

                    let recorded =
                        [
                            "groups:"
                            "  - name: dashboard"
                            "    rules:"
                            for number, question in List.indexed ofDashboard.Value do
                                let expression =
                                    question.Expression.Replace("$__rate_interval", "5m").Replace("$job", ".*")

                                $"      - record: question:{number}"
                                $"        expr: {JsonSerializer.Serialize expression}"
                        ]

                    scratch.Write("dashboard.yaml", String.Join('\n', recorded)) |> ignore

                    let! outcome =
                        Shell.runIn scratch.Path [] "promtool check rules alerts.yaml dashboard.yaml"

                    Expect.equal outcome.Code 0 $"{outcome.Output}{outcome.Errors}"
                    Expect.stringContains outcome.Output $"SUCCESS: {ofAlerts.Value.Length} rules found" "the alerts"

                    Expect.stringContains
                        outcome.Output
                        $"SUCCESS: {ofDashboard.Value.Length} rules found"
                        "the dashboard"
                })

            case "each alert fires when it should, with these words, and not otherwise" (fun () ->
                task {
                    use scratch = new Scratch()
                    scratch.Write("alerts.yaml", String.Join('\n', ruleFile.Value)) |> ignore

                    let cases =
                        File.ReadAllText(SourceTree.path "Kedge.Tests/testassets/alerts/cases.yaml")

                    scratch.Write("cases.yaml", cases) |> ignore

                    for alert in ofAlerts.Value do
                        let name = alert.Place.Split(' ')[1]

                        Expect.isMatch
                            cases
                            $@"alertname: {name}\n +eval_time: \w+\n +exp_alerts:"
                            $"a case for {name}"

                    let! outcome = Shell.runIn scratch.Path [] "promtool test rules cases.yaml"
                    Expect.equal outcome.Code 0 $"{outcome.Output}{outcome.Errors}"
                })
        ]

[<Tests>]
let form =
    let variables = lazy (dashboard.Value.GetProperty("templating") |> elements "list")

    testList
        "form of the dashboard"
        [
            test "it has what an import needs" {
                let dashboard = dashboard.Value
                Expect.isGreaterThanOrEqual (number "schemaVersion" dashboard) 36 "schemaVersion"
                Expect.isMatch (text "uid" dashboard) "^[a-zA-Z0-9_-]{1,40}$" "uid"
                Expect.isNotEmpty (text "title" dashboard) "title"
                Expect.isNotEmpty (text "from" (dashboard.GetProperty "time")) "time"
                // An export that Grafana asks questions about has these; what is provisioned must not.
                Expect.isFalse (fst (dashboard.TryGetProperty "__inputs")) "no inputs"
                Expect.isFalse (fst (dashboard.TryGetProperty "id")) "no number of another Grafana's"
            }

            test "panels have a number of their own, a title, a place, and questions with a name each" {
                let ids = panels.Value |> List.map (number "id")
                Expect.equal (List.distinct ids) ids "ids"

                for panel in panels.Value do
                    let title = text "title" panel
                    Expect.isNotEmpty title "title"
                    Expect.contains [ "stat"; "timeseries"; "gauge"; "table" ] (text "type" panel) title
                    Expect.isNotEmpty (text "unit" (panel.GetProperty("fieldConfig").GetProperty("defaults"))) title
                    let questions = elements "targets" panel |> List.map (text "refId")
                    Expect.isNonEmpty questions title
                    Expect.equal (List.distinct questions) questions title
            }

            test "panels lie side by side, not upon one another" {
                let cells =
                    [
                        for panel in panels.Value do
                            let place = panel.GetProperty "gridPos"

                            let x, y, w, h =
                                number "x" place, number "y" place, number "w" place, number "h" place

                            let title = text "title" panel

                            Expect.isTrue
                                (x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24)
                                $"{title}: within the grid"

                            for column in x .. x + w - 1 do
                                for row in y .. y + h - 1 do
                                    (column, row), title
                    ]

                for cell, panels in List.groupBy fst cells do
                    Expect.equal (List.map snd panels) [ snd panels.Head ] $"at {cell}"

                let rows = cells |> List.map (fst >> snd) |> set
                Expect.equal rows (set [ 0 .. rows.MaximumElement ]) "no gap"
            }

            test "the data source is chosen by a variable, and every variable that is used is there" {
                let source =
                    variables.Value
                    |> List.find (fun variable -> text "name" variable = "datasource")

                Expect.equal (text "type" source, text "query" source) ("datasource", "prometheus") "the variable"

                let check (element: JsonElement) (place: string) =
                    let source = element.GetProperty "datasource"
                    Expect.equal (text "type" source, text "uid" source) ("prometheus", "${datasource}") place

                for panel in panels.Value do
                    check panel (text "title" panel)

                for variable in variables.Value do
                    if text "type" variable = "query" then
                        check variable (text "name" variable)

                let known =
                    variables.Value |> List.map (text "name") |> set |> Set.add "__rate_interval"

                let used =
                    Regex.Matches(dashboard.Value.GetRawText(), @"\$\{?(\w+)")
                    |> Seq.map (fun found -> found.Groups[1].Value)
                    |> set

                Expect.isEmpty (used - known) "variables that are not there"
                Expect.isEmpty (known - used) "variables that nothing uses"
            }
        ]
