/// No command stands in a document untried: `console` blocks are run and compared by `DocumentationTests` or, with
/// `ci=<name>`, by `.ci/run`; of an `sh` block `ci=<name>` says that `.ci/run` runs it, and `not-run="<why>"` that nothing
/// can here. What can be said of the latter without running them is looked at.
module Kedge.Tests.Docs.ShellBlockTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core
open Kedge.Tests.Docs.Documents
open Kedge.Tests.Harness

let private ciRun = lazy File.ReadAllText(SourceTree.path ".ci/run")

/// What `.ci/run` takes out of documents, as (function, document, name).
let private inCi =
    lazy
        [
            for found in
                Regex.Matches(ciRun.Value, @"(?m)^[^#\n]*?\b(block|transcript|script|serve) (\S+\.md) ([a-z-]+)") ->
                found.Groups[1].Value, found.Groups[2].Value, found.Groups[3].Value
        ]

let private sorted pairs = pairs |> List.sort

/// The flags of kedge and of its sub-commands, by the help of each.
let private flags =
    lazy
        (task {
            let commands =
                [ ""; "demo"; "check"; "explain"; "diff"; "discover"; "resolve"; "top" ]

            let! helps =
                commands
                |> List.map (fun c -> Shell.run $"kedge {c} --help")
                |> Threading.Tasks.Task.WhenAll

            return
                set
                    [
                        for help in helps do
                            for found in Regex.Matches(help.Output, @"--[a-z][a-z0-9_-]+") do
                                found.Value
                    ]
        })

let private flagsIn (text: string) =
    [
        for found in Regex.Matches(text, @"(?<![\w-])--[a-z][a-z0-9_-]*") do
            found.Value
    ]

/// Blocks that nothing runs, with the reason.
let private notRun = blocks |> List.filter _.Marks.ContainsKey("not-run")

let private notRunCommands =
    lazy
        [
            for block in notRun do
                for command in commands block do
                    block.Place, command
        ]

[<Tests>]
let tests =
    testList
        "blocks of commands in the documents"
        [
            test "each is run or says why not" {
                let known = [ "console"; "sh"; "json"; "jsonc"; "csharp"; "" ]

                for block in blocks do
                    Expect.contains known block.Language $"{block.Place}: a language that something looks at"
                    let marks = block.Marks |> Map.keys |> List.ofSeq

                    match block.Language, marks with
                    | "sh", [ "ci" ] -> ()
                    | ("sh" | "csharp"), [ "not-run" ] ->
                        Expect.isGreaterThan block.Marks["not-run"].Length 10 $"{block.Place}: why"
                    | "sh", _ -> failtestf "%s: who runs it? ci=<name> or not-run=\"<why>\"" block.Place
                    | "console", ([] | [ "ci" ] | [ "stage" ]) -> ()
                    | _, [] -> ()
                    | _ -> failtestf "%s: marks that nothing looks at" block.Place

                    if block.Language = "" then
                        for line in block.Lines do
                            Expect.isFalse
                                (Regex.IsMatch(line, @"^\s*(\$ |(kedge|dotnet|kubectl|curl|docker|misc/|bench/)\b.* )"))
                                $"{block.Place}: a command in a block without a language: {line}"
            }

            test "CI runs those that say so, and no others" {
                let marked =
                    [
                        for block in blocks do
                            match block.Marks.TryFind "ci" with
                            | Some name -> block.Document, name
                            | None -> ()
                    ]

                Expect.isGreaterThan marked.Length 10 "there are some"
                Expect.equal (sorted (List.distinct marked)) (sorted marked) "a name for each"

                let taken =
                    inCi.Value
                    |> List.map (fun (_, document, name) -> document, name)
                    |> List.distinct

                Expect.equal (sorted taken) (sorted marked) ".ci/run has them"

                for block in blocks do
                    match block.Marks.TryFind "ci" with
                    | Some name when block.Language = "console" ->
                        Expect.contains inCi.Value ("transcript", block.Document, name) "and compares what they print"
                    | _ -> ()
            }

            test "every script of misc/ is among those that are run" {
                let run =
                    [
                        for block in ofLanguage [ "console" ] do
                            yield! steps block |> List.map fst
                        for block in ofLanguage [ "sh" ] do
                            if block.Marks.ContainsKey "ci" then
                                yield! commands block
                    ]

                let scripts =
                    [ "*.fsx"; "*.sh" ]
                    |> List.collect (fun pattern -> List.ofArray (Directory.GetFiles(SourceTree.path "misc", pattern)))

                Expect.isGreaterThan scripts.Length 4 "there are some"

                for script in scripts do
                    let name = Path.GetRelativePath(SourceTree.root, script)
                    Expect.isTrue (run |> List.exists (fun command -> command.Contains name)) name
            }

            test "kedge's questions are shown with their answers" {
                let isQuestion (line: string) = Regex.IsMatch(line, @"^\S*kedge (check|explain|diff)\b")

                let shown = ofLanguage [ "console" ] |> List.collect steps |> List.map fst
                Expect.isGreaterThan (shown |> List.filter isQuestion |> List.length) 5 "they are there"

                for block in ofLanguage [ "sh" ] do
                    Expect.isEmpty (commands block |> List.filter isQuestion) block.Place
            }

            case "flags that documents name are kedge's" (fun () ->
                task {
                    let! known = flags.Value
                    Expect.isGreaterThan known.Count 40 "the help was read"

                    let named =
                        [
                            for place, code in inlineCode do
                                if Regex.IsMatch(code, "^(kedge |--)") then
                                    for flag in flagsIn code do
                                        place, flag
                            for place, command in notRunCommands.Value do
                                if Regex.IsMatch(command, @"^(\S*/)?kedge ") then
                                    for flag in flagsIn command do
                                        place, flag
                        ]

                    Expect.isGreaterThan named.Length 30 "there are some"
                    // `--server_oidc_…` is about all that begin so.
                    let isKnown (flag: string) =
                        if flag.EndsWith '_' then
                            known
                            |> Set.exists (fun name -> name.StartsWith(flag, StringComparison.Ordinal))
                        else
                            known.Contains flag

                    Expect.equal (named |> List.filter (snd >> isKnown >> not)) [] "flags that kedge does not have"
                })

            test "what is not run names files and packages that are there" {
                let places = notRunCommands.Value
                Expect.isGreaterThan places.Length 10 "there are some"

                for place, command in places do
                    for found in
                        Regex.Matches(command, @"(?<=^|[\s=])(misc|bench|docs|\.ci|Kedge\.[A-Za-z]+)(/\S*)?(?=\s|$)") do
                        let path = SourceTree.path found.Value
                        Expect.isTrue (File.Exists path || Directory.Exists path) $"{place}: {found.Value}"

                    if command.StartsWith("apt-get install ", StringComparison.Ordinal) then
                        for package in command.Split(' ')[2..] do
                            Expect.isMatch
                                ciRun.Value
                                $@"(?m)^need \S+ {package}$"
                                $"{place}: .ci/run installs {package}"

                    if command.StartsWith("docker build ", StringComparison.Ordinal) then
                        Expect.isTrue (File.Exists(SourceTree.path "Dockerfile")) place
            }
        ]
