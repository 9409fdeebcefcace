namespace Kedge.PropertyTests

open System.Collections.Concurrent
open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp

/// Counts what the cases of a law were like, so that a law that looked at nothing fails.
type Tally() =
    let counts = ConcurrentDictionary<string, int>()

    member _.Count(kind: string) = counts.AddOrUpdate(kind, 1, (fun _ count -> count + 1)) |> ignore

    member tally.CountIf (holds: bool) (kind: string) =
        if holds then
            tally.Count kind

    /// Fails unless the run had this many cases of the kind.
    member _.Expect (least: int) (kind: string) =
        let found = counts.GetValueOrDefault(kind, 0)

        if found < least then
            failtestf "vacuous: only %d cases were `%s`, at least %d are needed" found kind least

module Law =

    /// Throws on failure and is silent otherwise. FsCheck's own runners write an empty text to the console for each case,
    /// which costs more than the case itself where Expecto has redirected it.
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

    /// Runs the law over many cases; fails with the shrunk counterexample.
    let check (cases: int) (arbitrary: Arbitrary<'case>) (law: 'case -> unit) =
        let config = Config.Quick.WithMaxTest(cases).WithRunner(runner)
        Check.One(config, Prop.forAll arbitrary law)

    /// A test of a law whose cases are counted; `guard` then says how many of each kind there must have been. By chance a
    /// round of cases may miss that, so up to three are counted together.
    let test name cases arbitrary (law: Tally -> 'case -> unit) (guard: Tally -> unit) =
        testCase name
        <| fun () ->
            let tally = Tally()

            let rec round left =
                check cases arbitrary (law tally)

                let met =
                    try
                        guard tally
                        true
                    with _ when left > 1 ->
                        false

                if not met then
                    round (left - 1)

            round 3
