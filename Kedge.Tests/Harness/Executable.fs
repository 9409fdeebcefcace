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

    /// The executable that the variable names, else the one of that project, built in the configuration of the tests.
    let find (variable: string) (project: string) (name: string) : string =
        match Environment.GetEnvironmentVariable variable with
        | null
        | "" ->
            let configuration =
                DirectoryInfo(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar)).Name

            Path.Combine(root, "artifacts", "bin", project, configuration, name)
        | given -> Path.GetFullPath(given, root)

    /// The `kedge` under test.
    let path: string = find "KEDGE_EXECUTABLE" "Kedge.Host" "kedge"

    /// Where programs are looked for: first in what .ci/tools installs, because the kubectl of Debian 12 is too old.
    let searchPath: string =
        let tools = Path.Combine(root, "artifacts", "tools")
        let path = string (Environment.GetEnvironmentVariable "PATH")
        $"{tools}:{path}"
