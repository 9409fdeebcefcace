namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.IO

/// A directory of its own for one test, removed with it.
type Scratch() =
    let directory = Directory.CreateTempSubdirectory "kedge-tests-"

    member _.Path = directory.FullName

    /// The full path of a file in the directory, which need not exist.
    member _.File(name: string) = Path.Combine(directory.FullName, name)

    /// Writes the text and yields the file's full path.
    member this.Write(name: string, text: string) =
        let file = this.File name
        File.WriteAllText(file, text)
        file

    interface IDisposable with
        member _.Dispose() =
            try
                directory.Delete true
            with :? IOException ->
                ()

/// Peers and servers that several tests share: started by the first that needs them, ended when the run is over.
[<RequireQualifiedAccess>]
module Shared =
    let private started = ConcurrentStack<IDisposable>()

    /// A value that is made once, on first use.
    let make (create: unit -> 'a :> IDisposable) : Lazy<'a> =
        lazy
            (let value = create ()
             started.Push value
             value)

    /// Ends what was started, latest first.
    let disposeAll () =
        let mutable item = Unchecked.defaultof<IDisposable>

        while started.TryPop &item do
            item.Dispose()
