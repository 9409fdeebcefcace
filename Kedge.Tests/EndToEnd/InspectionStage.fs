/// `kedge check`, `kedge explain` and `kedge diff`, as people and pipelines run them.
module Kedge.Tests.EndToEnd.InspectionStage

open System
open System.Text.Json
open Expecto
open Kedge.Tests.Harness

let run = KedgeProgram.RunToEnd

let director file = $"--kedge_config_director_config_path={file}"
let pool file = $"--kedge_config_backendpool_config_path={file}"

let json (lines: string array) =
    use document = JsonDocument.Parse(String.Join('\n', lines))
    document.RootElement.Clone()

let text (name: string) (element: JsonElement) =
    match element.GetProperty(name).GetString() with
    | null -> failtestf "%s is null in %O" name element
    | text -> text

let items (name: string) (element: JsonElement) = List.ofSeq (element.GetProperty(name).EnumerateArray())

/// Two routes of one host, an ad-hoc rule and a gRPC route; a line for each route.
let twoHosts =
    """{ "http": { "routes": [
  { "backend_name": "canary", "host_matcher": "a.example", "header_matcher": { "x-env": "canary" } },
  { "backend_name": "stable", "host_matcher": "a.example" }
], "adhoc_rules": [ { "dns_name_matcher": "*.pod", "port": { "allowed": [9090] } } ] },
"grpc": { "routes": [ { "backend_name": "orders", "service_name_matcher": "shop.*" } ] } }"""
