namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.Threading

/// What must never be told to anyone: each token and private key of the run. Everything that a kedge prints, answers by itself
/// or shows on a page is searched for them; what is found fails the whole run.
[<RequireQualifiedAccess>]
module Secrets =
    let private known = ConcurrentDictionary<string, unit>()
    let private leaks = ConcurrentQueue<string>()
    let mutable private searched = 0L

    /// Shorter texts, like the word `token`, are found in innocent places, too.
    let private shortest = 12

    /// The head of each PEM private key.
    let private privateKey = "PRIVATE KEY"

    /// From now on nobody may tell it.
    let add (secret: string) =
        if secret.Length >= shortest then
            known.TryAdd(secret, ()) |> ignore

    /// A JSON Web Token: its claims, and its signature. Its header has nothing secret, and tokens share it.
    let addToken (token: string) = token.Split '.' |> Array.skip 1 |> Array.iter add

    /// The inner lines of a PEM private key. The first one is the same for all keys of a kind.
    let addKey (pem: string) =
        pem.Split '\n'
        |> Array.filter (fun line -> not (line.StartsWith("-----", StringComparison.Ordinal)))
        |> Array.skip 1
        |> Array.iter (_.Trim() >> add)

    /// Whether a secret is in the text.
    let isIn (text: string) : bool =
        text.Contains(privateKey, StringComparison.Ordinal)
        || known.Keys
           |> Seq.exists (fun secret -> text.Contains(secret, StringComparison.Ordinal))

    /// Searches what a kedge told; a find is kept for the end of the run. `where` says where the text is from.
    let look (where: string) (text: string) =
        Interlocked.Add(&searched, int64 text.Length) |> ignore

        if isIn text then
            text.Split '\n'
            |> Array.filter isIn
            |> Array.iter (fun line -> leaks.Enqueue $"{where}: {line}")

    /// Characters that were searched so far.
    let total () = Interlocked.Read &searched

    /// What was found, with its place.
    let found () = leaks.ToArray()
