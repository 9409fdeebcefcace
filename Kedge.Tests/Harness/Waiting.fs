namespace Kedge.Tests.Harness

open System
open System.Threading.Tasks
open Expecto

/// Waiting for a condition instead of for a time.
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
