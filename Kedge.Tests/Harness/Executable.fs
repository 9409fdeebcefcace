namespace Kedge.Tests.Harness

open System
open System.IO

/// Where things are in the checkout.
[<RequireQualifiedAccess>]
module Executable =

    /// The directory of `Kedge.sln`.
    let root: string =
        let rec climb (directory: DirectoryInfo | null) =
            match directory with
            | null -> failwithf "no Kedge.sln above %s" AppContext.BaseDirectory
            | d when File.Exists(Path.Combine(d.FullName, "Kedge.sln")) -> d.FullName
            | d -> climb d.Parent

        climb (DirectoryInfo AppContext.BaseDirectory)

    /// The `kedge` under test: the one that `KEDGE_EXECUTABLE` names, else the one built in the configuration of the tests.
    let path: string =
        match Environment.GetEnvironmentVariable "KEDGE_EXECUTABLE" with
        | null
        | "" ->
            let configuration =
                DirectoryInfo(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar)).Name

            Path.Combine(root, "artifacts", "bin", "Kedge.Host", configuration, "kedge")
        | given -> Path.GetFullPath(given, root)
