/// The Helm chart misc/deploy/chart: its objects are those of the kustomize base, and wrong values are rejected.
module Kedge.Tests.Deploy.ChartTests

open System.Collections.Generic
open System.IO
open System.Text.Json
open System.Text.Json.Nodes
open Expecto
open k8s
open k8s.Models
open Kedge.Tests.Core
open Kedge.Tests.Harness

let private chart = "misc/deploy/chart"

// The objects of the Prometheus Operator, as far as kedge uses their fields. So a misspelled one is an error, too.

type Endpoint() =
    member val Port = "" with get, set
    member val Path = "" with get, set
    member val Interval = "" with get, set

type PodMonitorSpec() =
    member val Selector = V1LabelSelector() with get, set
    member val PodMetricsEndpoints = List<Endpoint>() with get, set

type Rule() =
    member val Alert = "" with get, set
    member val Expr = "" with get, set
    member val For = "" with get, set
    member val Labels = Dictionary<string, string>() with get, set
    member val Annotations = Dictionary<string, string>() with get, set

type Group() =
    member val Name = "" with get, set
    member val Rules = List<Rule>() with get, set

type PrometheusRuleSpec() =
    member val Groups = List<Group>() with get, set

type OperatorObject<'spec when 'spec: (new: unit -> 'spec)>() =
    member val Spec = new 'spec () with get, set
    member val ApiVersion = "" with get, set
    member val Kind = "" with get, set
    member val Metadata = V1ObjectMeta() with get, set

    interface IKubernetesObject<V1ObjectMeta> with
        member this.ApiVersion
            with get () = this.ApiVersion
            and set value = this.ApiVersion <- value

        member this.Kind
            with get () = this.Kind
            and set value = this.Kind <- value

        member this.Metadata
            with get () = this.Metadata
            and set value = this.Metadata <- value

let private operatorTypes =
    Dictionary(
        dict
            [
                "monitoring.coreos.com/v1/PodMonitor", typeof<OperatorObject<PodMonitorSpec>>
                "monitoring.coreos.com/v1/PrometheusRule", typeof<OperatorObject<PrometheusRuleSpec>>
            ]
    )

let private render (command: string) =
    task {
        let! outcome = Shell.run command
        Expect.equal outcome.Code 0 $"{command}: {outcome.Errors}"
        // Strictly: a field that the type does not have is an error.
        return List.ofSeq (KubernetesYaml.LoadAllFromString(outcome.Output, operatorTypes, true))
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
            same
                "--set podMonitor.enabled=true --set prometheusRule.enabled=true --set dashboard.enabled=true"
                "misc/deploy/overlays/monitoring"

            case "helm lint finds nothing" (fun () ->
                task {
                    let! outcome = Shell.run $"helm lint --strict {chart}"
                    Expect.equal outcome.Code 0 (outcome.Output + outcome.Errors)
                })

            case "the schema describes every value, and no other" (fun () ->
                task {
                    let! values = Shell.run $"helm show values {chart}"

                    let values = KubernetesYaml.Deserialize<Dictionary<string, obj>> values.Output

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

            case
                "with the Prometheus Operator and Grafana, three more objects, whose pods and rules are kedge's"
                (fun () ->
                    task {
                        let! plain = render "kubectl kustomize misc/deploy/base"
                        let! objects = render "kubectl kustomize misc/deploy/overlays/monitoring"
                        Expect.equal (objects.Length - plain.Length) 3 "objects"
                        let pick choose = objects |> List.choose choose |> List.exactlyOne

                        let monitor =
                            pick (function
                                | :? OperatorObject<PodMonitorSpec> as found -> Some found
                                | _ -> None)

                        let pod =
                            pick (function
                                | :? V1Deployment as found -> Some found.Spec.Template
                                | _ -> None)

                        for label in monitor.Spec.Selector.MatchLabels do
                            Expect.equal pod.Metadata.Labels[label.Key] label.Value "the pods are scraped"

                        let ports = [ for port in (Seq.exactlyOne pod.Spec.Containers).Ports -> port.Name ]
                        Expect.contains ports (Seq.exactlyOne monitor.Spec.PodMetricsEndpoints).Port "on this port"

                        let rules =
                            pick (function
                                | :? OperatorObject<PrometheusRuleSpec> as found -> Some found.Spec
                                | _ -> None)

                        let count = rules.Groups |> Seq.sumBy _.Rules.Count
                        Expect.isGreaterThan count 7 "alerts"
                    })

            rejected "--set replica=3" "replica"
            rejected "--set service.type=Loadbalancer" "service/type"
            rejected "--set discovery.enabled=true" "discovery.externalDomainSuffix is needed with discovery"
            rejected "--set flags.server_tls_key_file=/x" "flags.server_tls_key_file: the chart sets this flag"
            rejected "--set tls.secretNamespaces='{No_Space}'" "tls/secretNamespaces"
            rejected "--set image.digest=latest" "image/digest"
        ]
