namespace Kedge.Tests.Harness

open System
open System.Diagnostics
open System.Threading.Tasks
open Expecto

/// Waiting for a condition instead of for a time. Where nothing is to happen, see `Absence`.
[<AutoOpen>]
module Waiting =

    /// What a step of a test may take at most, on a busy machine.
    let patience = TimeSpan.FromSeconds 30.0

    /// The result of the task; fails, naming what was awaited, when it is not there in time.
    let within (what: string) (work: Task<'a>) : Task<'a> =
        task {
            try
                return! work.WaitAsync patience
            with :? TimeoutException ->
                return raise (TimeoutException $"still waiting for {what} after {patience.TotalSeconds} s")
        }

    /// As `within`, for a task without a result.
    let finishes (what: string) (work: Task) : Task<unit> =
        task {
            try
                do! work.WaitAsync patience
            with :? TimeoutException ->
                raise (TimeoutException $"still waiting for {what} after {patience.TotalSeconds} s")
        }

    /// Asks again, every 20 ms, until the condition holds; fails, naming it, when it does not in time.
    let eventually (what: string) (condition: unit -> bool) : Task<unit> =
        task {
            let deadline = DateTime.UtcNow + patience

            while not (condition ()) do
                if DateTime.UtcNow > deadline then
                    raise (TimeoutException $"not so within {patience.TotalSeconds} s: {what}")

                do! Task.Delay 20
        }

    /// As `eventually`, for what takes a request to see: asks until it is so; fails, with the last that was seen, when it is
    /// not so within the limit.
    let soon (limit: TimeSpan) (what: string) (look: unit -> Task<'a>) (isSo: 'a -> bool) : Task<unit> =
        task {
            let clock = Stopwatch.StartNew()
            let! first = look ()
            let mutable seen = first

            while not (isSo seen) do
                if clock.Elapsed > limit then
                    raise (TimeoutException $"not so within {limit.TotalSeconds} s: {what}; it is %A{seen}")

                do! Task.Delay 20
                let! next = look ()
                seen <- next
        }

    /// Waits until a count is above zero and has not changed for half a second; yields it.
    let standsStill (count: unit -> int64) : Task<int64> =
        task {
            let mutable last = -1L
            let mutable since = DateTime.UtcNow

            while count () <> last
                  || last = 0L
                  || DateTime.UtcNow - since < TimeSpan.FromMilliseconds 500.0 do
                if count () <> last then
                    last <- count ()
                    since <- DateTime.UtcNow

                do! Task.Delay 20

            return last
        }

    /// A named test that is a task. (Expecto's own `testTask` takes neither `use` nor awaitables that are no tasks.)
    let case (name: string) (body: unit -> Task<unit>) : Test =
        testCaseAsync name (async { do! Async.AwaitTask(Task.Run<unit>(body).WaitAsync(TimeSpan.FromMinutes 2.0)) })

    /// The exception, of that type, with which the task ends; fails when it ends well.
    let failure<'error when 'error :> exn> (what: string) (body: unit -> Task) : Task<'error> =
        task {
            try
                do! body().WaitAsync patience
                return failtestf "%s: expected %s, but it went well" what typeof<'error>.Name
            with :? 'error as error ->
                return error
        }

/// Showing that something does not happen: the one purpose for which a test waits for a fixed time.
[<RequireQualifiedAccess>]
module Absence =

    /// The longest time that a test may spend on it.
    let longest = TimeSpan.FromSeconds 5.0

    /// Asks again and again, for the whole time, whether it has happened; fails, naming it, as soon as it has.
    let during (time: TimeSpan) (what: string) (hasHappened: unit -> Task<bool>) : Task<unit> =
        if time > longest then
            invalidArg
                (nameof time)
                $"{time.TotalSeconds} s to show an absence ({what}); {longest.TotalSeconds} s at most"

        task {
            let clock = Stopwatch.StartNew()

            while clock.Elapsed < time do
                let! happened = hasHappened ()

                if happened then
                    failtestf "what must not happen did, after %.1f s: %s" clock.Elapsed.TotalSeconds what

                do! Task.Delay 20
        }
