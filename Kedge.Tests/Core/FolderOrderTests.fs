module Kedge.Tests.Core.FolderOrderTests

open System.IO
open System.Text.RegularExpressions
open Expecto
open Kedge.Tests.Core

/// The folders of Kedge.Host from the bottom to the top. A file may use its own folder and those below it. Who adds a
/// folder finds its place here; the picture in ARCHITECTURE.md shows the same order.
let private floors =
    [
        "Timing"
        "Http"
        "Resolvers"
        "Flags"
        "Logging"
        "Certificates"
        "Telemetry"
        "Kubernetes"
        "Authorization"
        "RateLimits"
        "Backends"
        "Configurations"
        "Routing"
        "Forwarding"
        "Listeners"
        "Debug"
        "Server"
        "Demo"
        "Commands"
    ]

/// C# without comments and the contents of strings, so that only code counts as use.
let private code (text: string) =
    Regex.Replace(text, "(?s)\"\"\".*?\"\"\"|//[^\n]*|/\\*.*?\\*/|\"(?:\\\\.|[^\"\\\\\n])*\"", "\"\"")

type private Source =
    {
        /// Relative to Kedge.Host, such as `Backends/Health/HealthProbe.cs`.
        Path: string
        Folder: string
        Code: string
        /// The types that the file defines, nested ones left out.
        Types: Set<string>
    }

let private sources =
    lazy
        let root = SourceTree.path "Kedge.Host"

        [
            for folder in DirectoryInfo(root).GetDirectories() do
                for file in Directory.GetFiles(folder.FullName, "*.cs", SearchOption.AllDirectories) do
                    let code = code (File.ReadAllText file)

                    {
                        Path = Path.GetRelativePath(root, file)
                        Folder = folder.Name
                        Code = code
                        Types =
                            set
                                [
                                    for found in
                                        Regex.Matches(
                                            code,
                                            @"(?m)^(?:\w+ )*(?:class|interface|enum|(?:record )?struct|record) (\w+)"
                                        ) -> found.Groups[1].Value
                                ]
                    }
        ]

/// The folders that a file names: in full (`Kedge.Host.Backends`), or relative to the root namespace
/// (`Backends.Endpoint`), which needs no `using`.
let private foldersUsed (all: Source list) (source: Source) =
    set
        [
            for found in Regex.Matches(source.Code, @"\bKedge\.Host\.(\w+)") do
                yield found.Groups[1].Value

            for found in Regex.Matches(source.Code, @"(?<![\w.])(\w+)\.(\w+)") do
                let folder, name = found.Groups[1].Value, found.Groups[2].Value

                if
                    all
                    |> List.exists (fun other -> other.Folder = folder && other.Types.Contains name)
                then
                    yield folder
        ]

/// The files whose types a file names.
let private filesUsed (all: Source list) (source: Source) =
    let words = set [ for word in Regex.Matches(source.Code, @"\w+") -> word.Value ]

    all
    |> List.filter (fun other ->
        // The parts of a type are one file in this respect.
        (Set.intersect other.Types source.Types).IsEmpty
        && not (Set.intersect other.Types words).IsEmpty)

/// The first circle of uses that is found from a file, as the files along it.
let private circleFrom (uses: Map<string, string list>) (start: string) =
    let rec search (path: string list) (visited: Set<string>) (file: string) : Result<Set<string>, string list> =
        if List.contains file path then
            Error(file :: (path |> List.takeWhile ((<>) file)) @ [ file ])
        elif visited.Contains file then
            Ok visited
        else
            (Ok visited, uses[file])
            ||> List.fold (fun state next -> state |> Result.bind (fun visited -> search (file :: path) visited next))
            |> Result.map (Set.add file)

    match search [] Set.empty start with
    | Ok _ -> None
    | Error circle -> Some(List.rev circle)

[<Tests>]
let tests =
    testList
        "the host's folders"
        [
            test "every folder has a place in the order" {
                let folders = sources.Value |> List.map _.Folder |> List.distinct |> List.sort
                Expect.isGreaterThan folders.Length 10 "the folders were found"
                Expect.equal (List.except floors folders) [] "folders that the order does not contain"
            }

            test "no file uses a folder above its own" {
                let all = sources.Value
                let floor folder = List.tryFindIndex ((=) folder) floors

                let uses =
                    [
                        for source in all do
                            for used in foldersUsed all source do
                                if used <> source.Folder && (floor used).IsSome then
                                    source, used
                    ]

                Expect.isGreaterThan uses.Length 100 "uses were found"

                let upwards =
                    [
                        for source, used in uses do
                            if floor used > floor source.Folder then
                                $"{source.Path} uses {used}"
                    ]

                Expect.equal upwards [] "uses that point up"
            }

            test "the files of the forwarder do not use each other in a circle" {
                let files =
                    sources.Value |> List.filter (fun source -> source.Folder = "Forwarding")

                let uses =
                    Map [ for file in files -> file.Path, filesUsed files file |> List.map _.Path ]

                Expect.isGreaterThan (Map.values uses |> Seq.sumBy _.Length) 10 "uses were found"

                let circles = files |> List.choose (fun file -> circleFrom uses file.Path)
                Expect.equal circles [] "circles"
            }
        ]
