/// Documents, comments and messages are in plain English, and refer only to what the repository has.
module Kedge.Tests.Docs.PlainEnglishTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core
open Kedge.Tests.Docs.Documents

/// Folders of sources whose comments and messages must be in plain English.
let private roots =
    [
        "Kedge.Pages"
        "Kedge.Host"
        "Kedge.Wire"
        "Kedge.Client"
        "Kedge.Client.Domain"
        "Kedge.Winch"
        "bench"
        "misc"
    ]

/// Folders of sources that must cite only what exists: the roots, and the tests.
let private citing =
    roots
    @ [
        "Kedge.Tests"
        "Kedge.PropertyTests"
        "Kedge.Benchmarks"
        "Kedge.Client.Tests"
    ]

/// Words and phrases that a native technical writer does not use in this sense: a pattern, a text that it finds, and
/// what to write instead.
let private translated =
    [
        @"\btold\b(?! apart)", "is told with its place", "reported, notified"
        @"\btells\b(?! apart)", "a message tells why", "reports, shows, says"
        @"\bunwell\b", "the endpoint is unwell", "unhealthy"
        @"\bwell again\b", "the endpoint is well again", "healthy again"
        @"\bbe had\b", "no port can be had", "available"
        @"\bso long\b(?! as\b)", "silent for so long", "for that long"
        @"\bunder way\b", "requests under way", "in flight, in progress"
        @"\bstands\b(?! for\b)", "the watch stands again", "is, works, is up"
        @"\bstood\b(?! for\b)", "flags stood before it", "were, preceded"
        @"\bstand still\b", "until they stand still", "are stable"
        @"\bin the place of\b", "one in the place of three", "instead of"
        @"\bbeside\b", "the law beside it", "next to, along with, in addition to"
        @"\b(go|goes|went|going) on\b", "it goes on serving", "continues, stays active"
        @"\bserves on\b", "the one before serves on", "stays active"
        @"\bgo(es)? no further\b", "headers that go no further", "are removed, are not forwarded"
        @"\bby a slip\b", "open by a slip", "by accident"
        @"\bmend(s|ed|ing)?\b", "until it is mended", "fix"
        @"\banew\b", "made anew", "again, recreated"
        @"\bmakes? of\b", "what discovery makes of a service", "generates from"
        @"\bdo(es)? without\b", "nginx does without, too", "does not use"
        @"\bbelongs? into\b", "it belongs into the commit", "belongs in"
        @"\b(have|has|had) a word\b|\bhas its say\b", "the rules have a word", "decide, report"
        @"(?<!\bthere )\bis no (?!longer\b|more\b|need\b)", "an address that is no name", "is not a"
        @"\bfor ever\b", "0 = for ever", "no limit, forever"
        @"\bwhoever has\b|\bwho has the\b", "whoever has one", "anyone with"
        @"\bare no (?!longer\b|more\b)(?<!\bthere are no )", "names that are no tokens", "are not"
        @"\bget(s)? in(to)? force\b|\bcomes? into force\b", "come into force", "take effect"
        @"\b(good|bad) answers\b", "good answers in a row", "success, failure"
        @"\bpatience\b", "how long its patience is", "timeout"
    ]
    |> List.map (fun (pattern, example, better) ->
        Regex(pattern, RegexOptions.IgnoreCase ||| RegexOptions.Compiled), example, better)

/// Citations of sections of documents that are not in the repository. Those of RFCs have a number before the section.
let private absent =
    Regex(@"\b[A-Z]{4,}(\.md)? sections? \d", RegexOptions.Compiled)

let private files (patterns: string list) (folder: string) =
    [
        for pattern in patterns do
            for file in Directory.GetFiles(SourceTree.path folder, pattern, SearchOption.AllDirectories) do
                let path = Path.GetRelativePath(SourceTree.root, file)

                if not (Regex.IsMatch(path, "(^|/)(bin|obj|artifacts|testassets)/")) then
                    path
    ]

let private code = [ "*.cs"; "*.fs"; "*.fsx" ]
let private texts = code @ [ "*.js"; "*.sh"; "*.yaml"; "*.json" ]

/// Each line of these files that matches, with its place. The list itself may name what it looks for.
let private find (paths: string list) (describe: string -> string list) =
    [
        for path in paths |> List.filter (fun path -> Path.GetFileName path <> __SOURCE_FILE__) do
            for index, line in List.indexed (lines path) do
                for problem in describe line do
                    $"{path}:{index + 1}: {problem}"
    ]

let private none (what: string) (found: string list) =
    if not found.IsEmpty then
        failtestf "%s:\n%s" what (String.Join('\n', found))

/// The anchor that a heading gets: lower case, without punctuation, words joined with dashes.
let private anchor (heading: string) =
    Regex.Replace(heading.ToLowerInvariant().Replace("`", ""), @"[^\w\- ]", "").Trim().Replace(' ', '-')

let private anchors =
    lazy
        Map
            [
                for document in documents do
                    document,
                    set
                        [
                            for line in lines document do
                                let heading = Regex.Match(line, @"^#+ (.+)$")

                                if heading.Success then
                                    anchor heading.Groups[1].Value
                        ]
            ]

[<Tests>]
let tests =
    testList
        "plain English"
        [
            test "each pattern finds its example" {
                for pattern, example, _ in translated do
                    Expect.isTrue (pattern.IsMatch example) $"{pattern} in '{example}'"
            }

            test "documents, comments and messages have no translated phrases" {
                let paths = documents @ List.collect (files texts) roots
                Expect.isGreaterThan (List.collect lines paths).Length 5000 "lines are read"

                find paths (fun line ->
                    [
                        for pattern, _, better in translated do
                            for found in pattern.Matches line do
                                $"'{found.Value}' reads like a translation; better: {better}"
                    ])
                |> none "plain English, please"
            }

            test "nothing cites a document that the repository does not have" {
                Expect.isTrue (absent.IsMatch "see NOTES section 3") "the pattern works"
                let paths = documents @ List.collect (files texts) citing
                Expect.isGreaterThan paths.Length 100 "files are read"

                find paths (fun line -> [ for found in absent.Matches line -> $"'{found.Value}'" ])
                |> none "cite a page of docs/ or an RFC instead"
            }

            test "links and citations lead to documents and headings that exist" {
                let sources =
                    Directory.GetDirectories(SourceTree.root, "Kedge.*")
                    |> List.ofArray
                    |> List.collect (fun folder -> files code (Path.GetRelativePath(SourceTree.root, folder)))

                let targets =
                    [
                        for document in documents do
                            let folder = nonNull (Path.GetDirectoryName document)

                            for index, line in List.indexed (lines document) do
                                for found in Regex.Matches(line, @"\]\(([^)\s:]*?)(?:#([^)\s]+))?\)") do
                                    let path = found.Groups[1].Value

                                    let path =
                                        if path = "" then
                                            document
                                        else
                                            Path.GetRelativePath(
                                                SourceTree.root,
                                                Path.GetFullPath(Path.Combine(SourceTree.root, folder, path))
                                            )

                                    $"{document}:{index + 1}", path, found.Groups[2].Value
                        for source in sources do
                            for index, line in List.indexed (lines source) do
                                for found in Regex.Matches(line, @"\b(docs/[a-z-]+\.md)(?:#([a-z0-9-]+))?") do
                                    $"{source}:{index + 1}", found.Groups[1].Value, found.Groups[2].Value
                    ]

                Expect.isGreaterThan
                    (targets |> List.filter (fun (_, _, heading) -> heading <> "") |> List.length)
                    10
                    "links"

                [
                    for place, path, heading in targets do
                        let full = SourceTree.path path

                        if not (File.Exists full || Directory.Exists full) then
                            $"{place}: {path} does not exist"
                        elif
                            heading <> ""
                            && not (anchors.Value.TryFind path |> Option.exists (Set.contains heading))
                        then
                            $"{place}: {path} has no heading #{heading}"
                ]
                |> none "dead links"
            }

            test "the laws that docs/laws.md names exist" {
                let laws =
                    [
                        for line in lines "docs/laws.md" do
                            let cells = line.Split '|'

                            if cells.Length = 4 && cells[1].TrimStart().StartsWith '`' then
                                cells[2].Trim()
                    ]

                Expect.isGreaterThan laws.Length 30 "the table is read"

                let sources =
                    [ "Kedge.PropertyTests"; "Kedge.Client.Tests" ]
                    |> List.collect (files code)
                    |> List.map (SourceTree.path >> File.ReadAllText)

                [
                    for law in laws do
                        if not (sources |> List.exists (fun source -> source.Contains law)) then
                            law
                ]
                |> none "no property has this name"
            }
        ]
