/// Event loops by themselves.
module Kedge.Tests.Wire.LoopTests

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Wire.Loops

let internal work (body: unit -> unit) =
    { new ILoopWork with
        member _.Run() = body ()
    }

/// Loops that may not fail, for one test.
let internal withLoops (count: int) (body: EventLoops -> Task<unit>) : Task<unit> =
    task {
        let errors = ConcurrentQueue<exn>()
        use loops = new EventLoops(count, (fun error -> errors.Enqueue error))
        do! body loops

        match List.ofSeq errors with
        | [] -> ()
        | errors -> raise (AggregateException("an event loop failed", errors))
    }

/// Runs a function on the thread of a loop.
let internal onLoop (loop: EventLoop) (body: unit -> 'a) : Task<'a> =
    let result =
        TaskCompletionSource<'a>(TaskCreationOptions.RunContinuationsAsynchronously)

    loop.Post(
        work (fun () ->
            try
                result.SetResult(body ())
            with error ->
                result.SetException error)
    )

    within "the loop" result.Task

[<Tests>]
let tests =
    testList
        "event loops"
        [
            case "what is posted runs on the thread of the loop, in the order of each poster" (fun () ->
                withLoops 2 (fun loops ->
                    task {
                        let loop = loops.All[1]
                        let posters, each = 4, 20_000
                        let last = Array.create posters -1
                        let mutable wrong = 0
                        let mutable count = 0

                        let post poster =
                            Task.Run(fun () ->
                                for i in 0 .. each - 1 do
                                    loop.Post(
                                        work (fun () ->
                                            if
                                                not (obj.ReferenceEquals(EventLoop.Current, loop))
                                                || last[poster] <> i - 1
                                            then
                                                wrong <- wrong + 1

                                            last[poster] <- i
                                            count <- count + 1)
                                    ))

                        do! Task.WhenAll(Array.init posters post)
                        do! eventually "all of it ran" (fun () -> Volatile.Read &count = posters * each)
                        Expect.equal wrong 0 "pieces that ran elsewhere, or out of order"
                    }))

            case "no wake-up is lost between a loop and those who post" (fun () ->
                withLoops 1 (fun loops ->
                    task {
                        // Each waits for the previous one, so that the loop is about to sleep each time.
                        for _ in 1..20_000 do
                            do! onLoop loops.All[0] ignore
                    }))

            case
                "what is put off runs after the posted work of the turn, and what is put off then in the next turn"
                (fun () ->
                    withLoops 1 (fun loops ->
                        task {
                            let loop = loops.All[0]
                            let seen = ConcurrentQueue<string * int64>()
                            let note name = seen.Enqueue(name, loop.Turn)

                            do!
                                onLoop loop (fun () ->
                                    loop.AtEndOfTurn(
                                        work (fun () ->
                                            note "end"
                                            loop.AtEndOfTurn(work (fun () -> note "next end")))
                                    )

                                    loop.Post(work (fun () -> note "next"))
                                    note "now")

                            do! eventually "all of it ran" (fun () -> seen.Count = 4)

                            match List.ofSeq seen with
                            | [ "now", turn; "end", same; "next", next; "next end", nextToo ] ->
                                Expect.equal (same, next, nextToo) (turn, turn + 1L, turn + 1L) "the turns"
                            | other -> failtestf "the order was %A" other
                        }))

            case "work that fails is reported, and the loop continues" (fun () ->
                task {
                    let errors = ConcurrentQueue<exn>()
                    use loops = new EventLoops(1, (fun error -> errors.Enqueue error))
                    loops.All[0].Post(work (fun () -> failwith "broken"))
                    do! onLoop loops.All[0] ignore
                    Expect.equal [ for error in errors -> error.Message ] [ "broken" ] "what was reported"
                })

            case "what is posted to a loop that has ended runs elsewhere" (fun () ->
                task {
                    let loops = new EventLoops(1, (fun _ -> ()))
                    let loop = loops.All[0]
                    loops.Dispose()
                    let! current = onLoop loop (fun () -> EventLoop.Current)
                    Expect.isNull current "its loop"
                })

            case "a loop that is held shows it, while it is held and afterwards" (fun () ->
                withLoops 1 (fun loops ->
                    task {
                        let loop = loops.All[0]
                        use release = new ManualResetEventSlim()
                        let held = onLoop loop (fun () -> release.Wait())
                        let long = TimeSpan.FromMilliseconds 30.0
                        do! eventually "it is seen" (fun () -> loop.Statistics.Stall > long)
                        release.Set()
                        do! held
                        Expect.isGreaterThan loop.Statistics.Stall long "afterwards"
                        Expect.isGreaterThan loop.Statistics.Turns 0L "turns"
                    }))

            case "the key of a handler that was removed leads to no other one" (fun () ->
                task {
                    let table = HandlerTable()

                    let handler () =
                        { new ILoopHandler with
                            member _.OnEvents _ = ()
                        }

                    let random = Random 1
                    let current = Collections.Generic.Dictionary<uint64, ILoopHandler>()
                    let gone = ResizeArray<uint64>()

                    for _ in 1..20_000 do
                        if current.Count < 200 && random.Next 2 = 0 then
                            let added = handler ()
                            current.Add(table.Add added, added)
                        elif current.Count > 0 then
                            let key = Seq.item (random.Next current.Count) current.Keys
                            table.Remove key
                            // A second time, it may be somebody else's place already.
                            table.Remove key
                            current.Remove key |> ignore
                            gone.Add key

                    Expect.isGreaterThan gone.Count 1000 "handlers that were removed"
                    Expect.equal table.Count current.Count "the count"

                    for KeyValue(key, added) in current do
                        Expect.isTrue (obj.ReferenceEquals(table.Find key, added)) "a handler that is there"

                    for key in gone do
                        Expect.isNull (table.Find key) "a handler that is gone"
                })
        ]
