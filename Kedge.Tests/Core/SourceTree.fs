/// The project's own files, for tests that read them.
module Kedge.Tests.Core.SourceTree

open System.IO
open Kedge.Tests.Harness

/// The folder of Kedge.sln, above the test program.
let root = Executable.root

let path (relative: string) = Path.Combine(root, relative)
