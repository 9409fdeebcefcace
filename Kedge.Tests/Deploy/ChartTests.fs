/// The Helm chart misc/deploy/chart: its objects are those of the kustomize base, and wrong values are rejected.
module Kedge.Tests.Deploy.ChartTests

open System.IO
open System.Text.Json
open System.Text.Json.Nodes
open Expecto
open k8s
open k8s.Models
open Kedge.Tests.Core
open Kedge.Tests.Harness

let private chart = "misc/deploy/chart"

let private render (command: string) =
    task {
        let! outcome = Shell.run command
        Expect.equal outcome.Code 0 $"{command}: {outcome.Errors}"
        // Strictly: a field that the type does not have is an error.
        return List.ofSeq (KubernetesYaml.LoadAllFromString(outcome.Output, null, true))
    }

/// Labels that only one of the two tools adds.
let private toolLabels =
    [
        "app.kubernetes.io/instance"
        "app.kubernetes.io/version"
        "app.kubernetes.io/managed-by"
        "helm.sh/chart"
    ]

/// Without the labels of a tool, with flags in order, and with configuration files as the values that they contain.
let rec private normal (path: string list) (node: JsonNode | null) : JsonNode | null =
    match node with
    | :? JsonObject as object ->
        let copy = JsonObject()

        for entry in object |> Seq.sortBy _.Key do
            if not (List.contains entry.Key toolLabels) then
                copy[entry.Key] <- normal (entry.Key :: path) entry.Value

        copy
    | :? JsonArray as array ->
        let items = [ for item in array -> normal path item ]

        let items =
            match path with
            | "args" :: _ -> items |> List.sortBy string
            | _ -> items

        JsonArray(Array.ofList items)
    | :? JsonValue as value when
        path
        |> List.tryHead
        |> Option.exists (fun name -> name.EndsWith(".json", System.StringComparison.Ordinal))
        ->
        normal
            []
            (JsonNode.Parse(
                value.GetValue<string>(),
                documentOptions = JsonDocumentOptions(CommentHandling = JsonCommentHandling.Skip)
            ))
    | null -> null
    | value -> value.DeepClone()

/// Each object by its kind and name.
let private normalised (objects: obj list) =
    objects
    |> List.filter (fun o -> not (o :? V1Namespace))
    |> List.map (fun o ->
        let text =
            match normal [] (JsonNode.Parse(KubernetesJson.Serialize o)) with
            | null -> "null"
            | node -> node.ToJsonString()

        let meta = (o :?> IMetadata<V1ObjectMeta>).Metadata
        $"{(o :?> IKubernetesObject).Kind}/{meta.NamespaceProperty}/{meta.Name}", text)
    |> Map

let private same values folder =
    case $"the chart's objects are those of {folder}" (fun () ->
        task {
            let! mine = render $"helm template kedge {chart} --namespace kedge {values}"
            let! theirs = render $"kubectl kustomize {folder}"
            let mine, theirs = normalised mine, normalised theirs
            Expect.isGreaterThan mine.Count 5 "objects"
            Expect.equal (List.ofSeq mine.Keys) (List.ofSeq theirs.Keys) "which objects there are"

            for entry in theirs do
                Expect.equal mine[entry.Key] entry.Value entry.Key
        })

let private rejected values reason =
    case $"rejected: {values}" (fun () ->
        task {
            let! outcome = Shell.run $"helm template kedge {chart} {values}"
            Expect.notEqual outcome.Code 0 "exit code"
            Expect.stringContains outcome.Errors reason "why"
        })

[<Tests>]
let tests =
    testList
        "Helm chart"
        [
            same "" "misc/deploy/base"
            same
                "--set image.repository=images.example.com/kedge \
                 --set discovery.enabled=true --set discovery.externalDomainSuffix=ext.example.com"
                "misc/deploy/overlays/example"
            same "--set tls.secretNamespaces='{shop,blog}'" "misc/deploy/overlays/certificates"

            case "helm lint finds nothing" (fun () ->
                task {
                    let! outcome = Shell.run $"helm lint --strict {chart}"
                    Expect.equal outcome.Code 0 (outcome.Output + outcome.Errors)
                })

            case "the schema describes every value, and no other" (fun () ->
                task {
                    let! values = Shell.run $"helm show values {chart}"

                    let values =
                        KubernetesYaml.Deserialize<System.Collections.Generic.Dictionary<string, obj>> values.Output

                    use schema =
                        JsonDocument.Parse(File.ReadAllText(SourceTree.path $"{chart}/values.schema.json"))

                    let described =
                        [
                            for each in schema.RootElement.GetProperty("properties").EnumerateObject() -> each.Name
                        ]

                    Expect.equal
                        (List.sort described |> List.except [ "global" ])
                        (List.sort (List.ofSeq values.Keys))
                        "values"
                })

            case "monitoring objects carry the rules and the dashboard of misc/deploy" (fun () ->
                task {
                    let! outcome =
                        Shell.run
                            $"helm template kedge {chart} --set podMonitor.enabled=true \
                              --set prometheusRule.enabled=true --set dashboard.enabled=true"

                    Expect.equal outcome.Code 0 outcome.Errors
                    let rules = File.ReadAllText(SourceTree.path "misc/deploy/prometheus-rules.yaml")

                    let alerts (text: string) =
                        [
                            for found in System.Text.RegularExpressions.Regex.Matches(text, @"alert: (\w+)") do
                                found.Groups[1].Value
                        ]
                        |> List.sort

                    Expect.isNonEmpty (alerts rules) "alerts"
                    Expect.equal (alerts outcome.Output) (alerts rules) "alerts"
                    Expect.stringContains outcome.Output "kind: PodMonitor" "the monitor"

                    let dashboard =
                        File.ReadAllText(SourceTree.path "misc/deploy/grafana-dashboard.json")

                    for line in dashboard.TrimEnd('\n').Split '\n' |> Array.truncate 50 do
                        Expect.stringContains outcome.Output line "the dashboard"
                })

            rejected "--set replica=3" "replica"
            rejected "--set service.type=Loadbalancer" "service/type"
            rejected "--set discovery.enabled=true" "discovery.externalDomainSuffix is needed with discovery"
            rejected "--set flags.server_tls_key_file=/x" "flags.server_tls_key_file: the chart sets this flag"
            rejected "--set tls.secretNamespaces='{No_Space}'" "tls/secretNamespaces"
            rejected "--set image.digest=latest" "image/digest"
        ]
