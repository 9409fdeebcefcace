namespace Kedge.PropertyTests

open System.Collections.Concurrent
open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp

/// Counts what the cases of a law were like.
type Seen() =
    let counts = ConcurrentDictionary<string, int>()

    member _.Count(kind: string) = counts.AddOrUpdate(kind, 1, (fun _ count -> count + 1)) |> ignore

    member seen.When(kind: string, holds: bool) =
        if holds then
            seen.Count kind

    /// How many cases were of the kind.
    member _.Of(kind: string) = counts.GetValueOrDefault(kind, 0)

[<RequireQualifiedAccess>]
module Law =

    /// Throws on failure and is silent otherwise. FsCheck's own runners write an empty text to the console for each
    /// case, which costs more than the case itself where Expecto has redirected it.
    let private runner =
        { new IRunner with
            member _.OnStartFixture _ = ()
            member _.OnArguments(_, _, _) = ()
            member _.OnShrink(_, _) = ()

            member _.OnFinished(name, result) =
                match result with
                | TestResult.Passed _ -> ()
                | _ -> failtestNoStack (Runner.onFinishedToString name result)
        }

    /// By chance a round of cases may miss the point of a law. As many in a row that do are no chance.
    [<Literal>]
    let private Rounds = 10

    /// A law over so many generated cases; it fails with the shrunk counterexample. A law whose cases never come to its
    /// point proves nothing: it fails, too, unless at least so many of the cases as listed were of each kind.
    let test name cases (kinds: (string * int) list) (arbitrary: Arbitrary<'case>) (law: Seen -> 'case -> unit) : Test =
        testCase name (fun () ->
            let seen = Seen()
            let config = Config.Quick.WithMaxTest(cases).WithRunner(runner)
            let missing () = kinds |> List.tryFind (fun (kind, least) -> seen.Of kind < least)

            let rec round number =
                Check.One(config, Prop.forAll arbitrary (law seen))

                match missing () with
                | Some _ when number < Rounds -> round (number + 1)
                | Some(kind, least) ->
                    failtestf "vacuous: only %d cases were `%s`, at least %d are needed" (seen.Of kind) kind least
                | None -> ()

            round 1)
