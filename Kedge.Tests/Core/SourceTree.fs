/// The project's own files, for tests that read them.
module Kedge.Tests.Core.SourceTree

open System
open System.IO

/// The folder of Kedge.sln, above the test program.
let root =
    let rec climb (folder: DirectoryInfo | null) =
        match folder with
        | null -> failwith $"no Kedge.sln above {AppContext.BaseDirectory}"
        | folder when File.Exists(Path.Combine(folder.FullName, "Kedge.sln")) -> folder.FullName
        | folder -> climb folder.Parent

    climb (DirectoryInfo AppContext.BaseDirectory)

let path (relative: string) = Path.Combine(root, relative)
