/// What the documents show is true: `console` blocks are run from the root of the checkout and print what they show
/// (a line that begins with `$ ` is a command, what follows is all that it prints), and JSON examples are decoded.
module Kedge.Tests.Docs.DocumentationTests

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Text.RegularExpressions
open Expecto
open Kedge.Domain
open Kedge.Tests.Core
open Kedge.Tests.Harness

type private Block =
    {
        Document: string
        /// Of its first line of text, from 1.
        Line: int
        Language: string
        Lines: string list
    }

let private documents =
    let inDocs =
        Directory.GetFiles(SourceTree.path "docs", "*.md")
        |> Array.sort
        |> Array.map (fun file -> Path.GetRelativePath(SourceTree.root, file))

    "README.md" :: List.ofArray inDocs

let private blocks =
    let rec read document number found (lines: string list) =
        match lines with
        | [] -> List.rev found
        | line :: rest when line.StartsWith("```", StringComparison.Ordinal) ->
            let text = rest |> List.takeWhile (fun line -> line <> "```")

            let block =
                {
                    Document = document
                    Line = number + 1
                    Language = line.Substring(3).Trim()
                    Lines = text
                }

            let behind = List.skip (min rest.Length (text.Length + 1)) rest
            read document (number + text.Length + 2) (block :: found) behind
        | _ :: rest -> read document (number + 1) found rest

    documents
    |> List.collect (fun document -> read document 1 [] (List.ofArray (File.ReadAllLines(SourceTree.path document))))

let private ofLanguage (languages: string list) =
    blocks |> List.filter (fun block -> List.contains block.Language languages)

/// The commands of a block, each with what it prints. A command goes on behind a backslash.
let private steps (block: Block) =
    let isCommand (line: string) = line.StartsWith("$ ", StringComparison.Ordinal)

    let rec command (lines: string list) =
        match lines with
        | line :: next :: rest when line.EndsWith '\\' ->
            let text, rest = command (next :: rest)
            line + "\n" + text, rest
        | line :: rest -> line, rest
        | [] -> "", []

    let rec read lines =
        match lines with
        | [] -> []
        | first: string :: rest when isCommand first ->
            let text, rest = command (first.Substring 2 :: rest)
            let shown = List.takeWhile (isCommand >> not) rest
            (text, shown) :: read (List.skip shown.Length rest)
        | first :: _ -> failwithf "%s: a console block begins with a command, not with %s" block.Document first

    read block.Lines

/// Both streams of the command, as a terminal would show them.
let private run (command: string) =
    task {
        let info =
            ProcessStartInfo(
                "bash",
                [ "-c"; "exec 2>&1\n" + command ],
                WorkingDirectory = SourceTree.root,
                RedirectStandardOutput = true
            )

        let path =
            match Environment.GetEnvironmentVariable "PATH" with
            | null -> ""
            | path -> path

        let kedge = nonNull (Path.GetDirectoryName(Executable.path: string))
        info.Environment["PATH"] <- kedge + ":" + path
        use bash = nonNull (Process.Start info)
        let! output = bash.StandardOutput.ReadToEndAsync()
        do! bash.WaitForExitAsync()
        return output.TrimEnd('\n').Split '\n' |> List.ofArray
    }

[<Tests>]
let commands =
    testList
        "commands in the documents"
        [
            for block in ofLanguage [ "console" ] do
                for command, shown in steps block do
                    case $"{block.Document}:{block.Line}: {command}" (fun () ->
                        task {
                            let! printed = run command
                            let shown = if shown.IsEmpty then [ "" ] else shown
                            Expect.equal (String.Join('\n', printed)) (String.Join('\n', shown)) "prints what is shown"
                        })

            test "kedge's questions are shown with their answers" {
                let isQuestion (line: string) = Regex.IsMatch(line, @"^\S*kedge (check|explain|diff)\b")
                let console = ofLanguage [ "console" ] |> List.collect steps |> List.map fst
                Expect.isGreaterThan (console |> List.filter isQuestion |> List.length) 5 "they are there"

                for block in ofLanguage [ "sh"; "" ] do
                    Expect.isFalse (List.exists isQuestion block.Lines) $"{block.Document}:{block.Line} is not run"
            }
        ]

[<Tests>]
let examples =
    let load (block: Block) =
        let text = String.Join('\n', block.Lines)
        let json = ReadOnlyMemory(Encoding.UTF8.GetBytes text)
        let file = $"{block.Document}:{block.Line}"

        if text.Contains "\"backends\"" || text.Contains "tls_server_configs" then
            ConfigFile.loadBackendPool file json |> Result.map ignore
        else
            ConfigFile.loadDirector file json |> Result.map ignore

    testList
        "configuration in the documents"
        [
            for block in ofLanguage [ "json"; "jsonc" ] do
                test $"{block.Document}:{block.Line} is sound" {
                    match load block with
                    | Ok() -> ()
                    | Error errors -> failtestf "%s" (errors |> List.map ConfigError.describe |> String.concat "\n")
                }

            test "the reference has every field that the decoders know" {
                let reference = File.ReadAllText(SourceTree.path "docs/configuration.md")

                let fields =
                    [ "DirectorJson.fs"; "BackendPoolJson.fs" ]
                    |> List.collect (fun file ->
                        let source = File.ReadAllText(SourceTree.path $"Kedge.Domain/Configuration/{file}")

                        [
                            for found in Regex.Matches(source, "(?:field|optional|FieldName.Of) \"([a-z0-9_]+)\"") ->
                                found.Groups[1].Value
                        ])
                    |> List.distinct

                Expect.isGreaterThan fields.Length 40 "the decoders' fields were found"

                for field in fields do
                    Expect.isTrue (Regex.IsMatch(reference, $@"\b{field}\b")) $"the field {field} is described"
            }
        ]
