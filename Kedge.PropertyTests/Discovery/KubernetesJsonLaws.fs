/// Reading what an API server sends.
module Kedge.PropertyTests.KubernetesJsonLaws

open System
open System.Text.Json
open System.Text.Json.Nodes
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain.Discovery
open Kedge.PropertyTests.DiscoveryCases

/// Any JSON, made of the names that the readers look for.
let rec private anyJson depth : Gen<string> =
    let scalar =
        Gen.elements
            [
                "null"
                "true"
                "false"
                "0"
                "80"
                "1e99"
                "-1"
                "\"\""
                "\"TCP\""
                "\"IPv4\""
                "\"2020-01-01T00:00:00Z\""
                "\"\\ud800\""
                "\"10.0.0.1\""
            ]

    if depth = 0 then
        scalar
    else
        let name =
            Gen.elements
                [
                    "metadata"
                    "name"
                    "namespace"
                    "labels"
                    "annotations"
                    "kedge.com/kedge-exposed"
                    "uid"
                    "creationTimestamp"
                    "spec"
                    "ports"
                    "port"
                    "targetPort"
                    "protocol"
                    "endpoints"
                    "addresses"
                    "conditions"
                    "ready"
                    "addressType"
                    "targetRef"
                    "kind"
                    "resourceVersion"
                    "\\ud800"
                ]

        let entry =
            gen {
                let! name = name
                let! value = anyJson (depth - 1)
                return $"\"{name}\":{value}"
            }

        Gen.frequency
            [
                1, scalar
                2,
                Gen.listOf (anyJson (depth - 1))
                |> Gen.resize 3
                |> Gen.map (fun items -> "[" + String.concat "," items + "]")
                6,
                Gen.listOf entry
                |> Gen.resize 12
                |> Gen.map (fun entries -> "{" + String.concat "," entries + "}")
            ]

let private objectWithMetadata =
    gen {
        let! rest = anyJson 4
        let! metadata = anyJson 2
        let! spec = anyJson 3

        return
            $"{{\"metadata\":{{\"name\":\"a\",\"x\":{metadata},\"labels\":{metadata}}},\"spec\":{spec},\"ports\":{spec},\"endpoints\":[{rest}]}}"
    }

/// A service as the API server writes it.
let private render (service: Service) : string =
    let texts (map: Map<string, string>) =
        let node = JsonObject()
        map |> Map.iter (fun key value -> node[key] <- JsonValue.Create value)
        node

    let port (port: ServicePort) : JsonNode =
        let node = JsonObject()
        node["name"] <- JsonValue.Create port.Name
        node["port"] <- JsonValue.Create port.Port
        node["protocol"] <- JsonValue.Create port.Protocol

        match port.TargetPort with
        | ValueSome(TargetNumber number) -> node["targetPort"] <- JsonValue.Create number
        | ValueSome(TargetName name) -> node["targetPort"] <- JsonValue.Create name
        | ValueNone -> ()

        node

    let metadata = JsonObject()
    metadata["name"] <- JsonValue.Create service.Name
    metadata["namespace"] <- JsonValue.Create service.Namespace
    metadata["uid"] <- JsonValue.Create service.Uid
    metadata["creationTimestamp"] <- JsonValue.Create(service.Created.ToString "yyyy-MM-ddTHH:mm:ssZ")
    metadata["labels"] <- texts (service.Labels.Add("app", "other"))
    metadata["annotations"] <- texts (service.Annotations.Add("example.com/other", "x"))
    metadata["resourceVersion"] <- JsonValue.Create service.ResourceVersion
    let spec = JsonObject()
    spec["type"] <- JsonValue.Create service.Type
    spec["ports"] <- JsonArray(service.Ports |> List.map port |> Array.ofList)
    let root = JsonObject()
    root["kind"] <- JsonValue.Create "Service"
    root["metadata"] <- metadata
    root["spec"] <- spec
    root.ToJsonString()

[<Tests>]
let tests =
    testList
        "Kubernetes JSON"
        [
            Law.test
                "reading any JSON never throws, nor does what discovery makes of it"
                500
                [ "it is a service", 150; "it is none", 50 ]
                (Arb.fromGen (Gen.frequency [ 1, anyJson 5; 2, objectWithMetadata ]))
                (fun seen text ->
                    use document = JsonDocument.Parse text
                    EndpointSliceJson.read document.RootElement |> ignore

                    match ServiceJson.read "kedge.com/" document.RootElement with
                    | ValueSome service ->
                        seen.When("it is a service", true)

                        let exposed =
                            { service with
                                Labels = Map.ofList [ options.ExposedLabel, "" ]
                            }

                        for report in (start.Upsert exposed).Generate().Quarantined do
                            Expect.isNotEmpty (report.Describe()) "a reason"
                    | ValueNone -> seen.When("it is none", true))

            Law.test
                "a service is read as it was written, less the labels and annotations of others"
                500
                [ "it has ports", 250; "it has annotations", 150 ]
                (Arb.fromGen (versionOf { Namespace = "n"; Name = "s" } 7))
                (fun seen service ->
                    seen.When("it has ports", not service.Ports.IsEmpty)
                    seen.When("it has annotations", not service.Annotations.IsEmpty)
                    use document = JsonDocument.Parse(render service)
                    Expect.equal (ServiceJson.read "kedge.com/" document.RootElement) (ValueSome service) "the same")
        ]
