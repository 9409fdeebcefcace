/// What the documents show is true: `console` blocks are run from the root of the checkout and print what they show
/// (a line that begins with `$ ` is a command, what follows is all that it prints), and JSON examples are decoded.
module Kedge.Tests.Docs.DocumentationTests

open System
open System.IO
open System.Text
open System.Text.RegularExpressions
open Expecto
open Kedge.Domain
open Kedge.Tests.Core
open Kedge.Tests.Docs.Documents
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes

let private prints (shown: string list) (printed: string list) =
    let shown = if shown.IsEmpty then [ "" ] else shown
    Expect.equal (String.Join('\n', printed)) (String.Join('\n', shown)) "prints what is shown"

[<Tests>]
let commands =
    testList
        "commands in the documents"
        [
            for block in ofLanguage [ "console" ] do
                if block.Marks.IsEmpty then
                    for command, shown in steps block do
                        case $"{block.Place}: {command}" (fun () ->
                            task {
                                let! printed = Shell.terminal SourceTree.root [] command
                                prints shown printed
                            })

            case "those that look at a cluster, with the service that the text exposes" (fun () ->
                task {
                    use api = new ApiServer()
                    use scratch = new Scratch()


                    api.Play
                        [
                            Manifest.exposed "default" "hello" [ "http", 80, "80" ]
                            Manifest.slice "default" "hello-1" "hello" "http" 80 [ "10.0.0.7", Manifest.ready ]
                        ]

                    File.Copy(Certificates.authority.Value.File, scratch.File "ca.crt")
                    Directory.CreateDirectory(scratch.File ".kube") |> ignore

                    scratch.Write(
                        ".kube/config",
                        $"apiVersion: v1\nkind: Config\nusers:\n- name: admin\n  user: {{ token: {api.Double.Token} }}\n"
                    )
                    |> ignore

                    let there = ofLanguage [ "console" ] |> List.filter _.Marks.ContainsKey("stage")
                    Expect.isNonEmpty there "there are some"

                    for block in there do
                        Expect.equal block.Marks["stage"] "cluster" block.Place

                        for command, shown in steps block do
                            let command = command.Replace("https://api.example.com:6443", string api.Double.Url)
                            let! printed = Shell.terminal scratch.Path [ "HOME", scratch.Path ] command
                            prints shown printed
                })
        ]

[<Tests>]
let examples =
    let load (block: Block) =
        let text = String.Join('\n', block.Lines)
        let json = ReadOnlyMemory(Encoding.UTF8.GetBytes text)
        let file = block.Place

        // Routes may have backends, too.
        let isPool =
            not (text.Contains "\"routes\"")
            && (text.Contains "\"backends\"" || text.Contains "tls_server_configs")

        if isPool then
            ConfigFile.loadBackendPool file json |> Result.map ignore
        else
            ConfigFile.loadDirector file json |> Result.map ignore

    testList
        "configuration in the documents"
        [
            for block in ofLanguage [ "json"; "jsonc" ] do
                test $"{block.Place} is sound" {
                    match load block with
                    | Ok() -> ()
                    | Error errors -> failtestf "%s" (errors |> List.map ConfigError.describe |> String.concat "\n")
                }

            test "the reference has every field that the decoders know, in the text and in an example that is decoded" {
                let reference = File.ReadAllText(SourceTree.path "docs/configuration.md")

                let examples =
                    ofLanguage [ "json"; "jsonc" ]
                    |> List.filter (fun block -> block.Document = "docs/configuration.md")
                    |> List.collect _.Lines
                    |> String.concat "\n"

                let fields =
                    [
                        for file in Directory.GetFiles(SourceTree.path "Kedge.Domain/Decoding", "*Json.fs") do
                            for found in
                                Regex.Matches(File.ReadAllText file, "(?:field|optional|FieldName.Of) \"([a-z0-9_]+)\"") do
                                found.Groups[1].Value
                    ]
                    |> List.distinct

                Expect.isGreaterThan fields.Length 120 "the decoders' fields were found"

                for field in fields do
                    Expect.isTrue (Regex.IsMatch(reference, $@"\b{field}\b")) $"the field {field} is described"
                    Expect.stringContains examples $"\"{field}\":" $"the field {field} has an example"
            }
        ]
