/// The project's documents, and the blocks in them.
module Kedge.Tests.Docs.Documents

open System
open System.IO
open System.Text.RegularExpressions
open Kedge.Tests.Core

/// A fenced block. Behind its language may stand marks, `name=value` or `name="some words"`.
type Block =
    {
        Document: string
        /// Of its first line of text, from 1.
        Line: int
        Language: string
        Marks: Map<string, string>
        Lines: string list
    }

    member block.Place = $"{block.Document}:{block.Line}"

/// Paths from the root. What tests have as their data is none.
let documents =
    let under (folder: string) = Directory.GetFiles(SourceTree.path folder, "*.md", SearchOption.AllDirectories)

    [
        yield! Directory.GetFiles(SourceTree.root, "*.md")
        for folder in [ "docs"; "misc"; "bench" ] do
            yield! under folder
    ]
    |> List.map (fun file -> Path.GetRelativePath(SourceTree.root, file))
    |> List.sort

let lines (document: string) = List.ofArray (File.ReadAllLines(SourceTree.path document))

/// The language and the marks of a fence.
let private fence (text: string) =
    let marks =
        [
            for found in Regex.Matches(text, "([a-z-]+)=(?:\"([^\"]*)\"|(\\S+))") do
                found.Groups[1].Value, found.Groups[2].Value + found.Groups[3].Value
        ]

    text.Split(' ')[0], Map marks

let private isFence (line: string) = line.StartsWith("```", StringComparison.Ordinal)

/// The blocks, and the lines outside of them with their numbers.
let private split document =
    let rec read number blocks prose (lines: string list) =
        match lines with
        | [] -> List.rev blocks, List.rev prose
        | line :: rest when isFence line ->
            let text = rest |> List.takeWhile (isFence >> not)
            let language, marks = fence (line.Substring(3).Trim())

            let block =
                {
                    Document = document
                    Line = number + 1
                    Language = language
                    Marks = marks
                    Lines = text
                }

            let behind = List.skip (min rest.Length (text.Length + 1)) rest
            read (number + text.Length + 2) (block :: blocks) prose behind
        | line :: rest -> read (number + 1) blocks ((number, line) :: prose) rest

    read 1 [] [] (lines document)

let blocks = documents |> List.collect (split >> fst)

let ofLanguage (languages: string list) = blocks |> List.filter (fun block -> List.contains block.Language languages)

/// What stands between backquotes outside of blocks, with its place.
let inlineCode =
    [
        for document in documents do
            for number, line in snd (split document) do
                for found in Regex.Matches(line, "`([^`]+)`") do
                    $"{document}:{number}", found.Groups[1].Value
    ]

let private isPrompt (line: string) = line.StartsWith("$ ", StringComparison.Ordinal)

/// The commands of a `console` block, each with what it prints. A command goes on behind a backslash.
let steps (block: Block) =
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
        | first: string :: rest when isPrompt first ->
            let text, rest = command (first.Substring 2 :: rest)
            let shown = List.takeWhile (isPrompt >> not) rest
            (text, shown) :: read (List.skip shown.Length rest)
        | first :: _ -> failwithf "%s: a console block begins with a command, not with %s" block.Place first

    read block.Lines

/// The commands of an `sh` block, a line each: without comments, and with what goes on behind a backslash.
let commands (block: Block) =
    let text = String.Join('\n', block.Lines).Replace("\\\n", " ")

    [
        for line in text.Split '\n' do
            match Regex.Replace(line, @"(^|\s)#.*$", "").Trim() with
            | "" -> ()
            | command -> Regex.Replace(command, @"\s+", " ")
    ]
