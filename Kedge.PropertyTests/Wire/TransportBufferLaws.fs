/// The buffers of a caller's connection on an event loop: whatever is received, looked at and consumed in whatever
/// pieces, the reader sees the bytes in their order; what is sent is what was written; neither outgrows what it has to
/// hold.
module Kedge.PropertyTests.Wire.TransportBufferLaws

open System
open System.Buffers
open Expecto
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Transport

/// The bytes of a connection, of which any piece says where it is from.
let private byteAt (position: int64) = byte (position % 251L)

let private numbered (start: int64) (count: int) = Array.init count (fun i -> byteAt (start + int64 i))

/// What happens to a buffer of received bytes.
type private InputStep =
    /// The socket has so many bytes, as far as there is room.
    | Receive of int
    /// The reader looks at what there is. Then more arrives; then it has consumed and examined so many thousandths.
    | Read of arrives: int list * consumed: int * examined: int
    | Drop

let private size =
    Gen.frequency
        [
            1, Gen.constant 0
            6, Gen.choose (1, 300)
            3, Gen.choose (1000, 5000)
            3, Gen.constant 100_000
        ]

let private inputSteps =
    gen {
        let! count = Gen.choose (1, 40)

        return!
            Gen.listOfLength
                count
                (Gen.frequency
                    [
                        6, Gen.map Receive size
                        6,
                        gen {
                            let! arrives = Gen.resize 3 (Gen.listOf size)

                            let! consumed =
                                Gen.frequency [ 1, Gen.constant 0; 1, Gen.constant 1000; 2, Gen.choose (0, 1000) ]

                            let! examined = Gen.frequency [ 1, Gen.constant 1000; 1, Gen.choose (0, 1000) ]
                            return Read(arrives, consumed, examined)
                        }
                        1, Gen.constant Drop
                    ])
    }

/// What a read may have room for: a whole block of the largest size, and no more.
let private mostRoom = 32 * 1024

let private input =
    Law.test
        "the server reads a connection's bytes in order, however they are split on arrival and when they are consumed"
        2000
        [
            "several segments", 200
            "a part of a segment", 200
            "examined and not consumed", 200
            "bytes that arrive while it reads", 200
            "empty again", 200
        ]
        (Arb.fromGen inputSteps)
        (fun seen steps ->
            let mutable buffer = new InputBuffer()
            // What there is: from, to; and up to where the reader has looked.
            let mutable first = 0L
            let mutable last = 0L
            let mutable examined = 0L

            let check () =
                Expect.equal buffer.Length (last - first) "how many there are"
                Expect.equal buffer.HasUnexamined (last > examined) "whether the reader has not seen some"
                let content = buffer.Content

                if not (content.ToArray().AsSpan().SequenceEqual(numbered first (int (last - first)))) then
                    failtestf "other bytes than those from %d to %d" first last

                seen.When("several segments", not content.IsSingleSegment)
                seen.When("empty again", last > 0L && first = last)

            let receive most =
                let room = buffer.Room()
                Expect.isGreaterThanOrEqual room.Length 1024 "room"
                Expect.isLessThanOrEqual room.Length mostRoom "room"
                let count = min most room.Length

                for i in 0 .. count - 1 do
                    room[i] <- byteAt (last + int64 i)

                buffer.Filled count
                last <- last + int64 count

            for step in steps do
                match step with
                | Receive most -> receive most
                | Read(arrives, consumed, looked) ->
                    let content = buffer.Content
                    let start = first
                    let there = last - first
                    arrives |> List.iter receive
                    let consumed = there * int64 consumed / 1000L
                    let looked = max consumed (there * int64 looked / 1000L)
                    buffer.Advance(content.GetPosition consumed, content.GetPosition looked)
                    first <- start + consumed
                    examined <- start + looked
                    seen.When("a part of a segment", consumed > 0L && consumed < there)
                    seen.When("examined and not consumed", looked > consumed)
                    seen.When("bytes that arrive while it reads", there > 0L && last > start + there)
                | Drop ->
                    buffer.Clear()
                    first <- last
                    examined <- last

                check ()

            buffer.Clear())

/// What happens to bytes that are to be sent.
type private OutputStep =
    /// So many are added at once.
    | Append of int
    /// Room for so many is asked for, and so many thousandths of it are used.
    | Write of wanted: int * used: int
    /// The socket takes so many thousandths of what there is.
    | Take of int
    /// The bytes of another buffer, of which some were sent already, are taken over.
    | TakeOver of added: int * sent: int
    | Forget

let private outputSteps =
    gen {
        let! count = Gen.choose (1, 40)

        let thousandths =
            Gen.frequency [ 1, Gen.constant 0; 1, Gen.constant 1000; 2, Gen.choose (0, 1000) ]

        return!
            Gen.listOfLength
                count
                (Gen.frequency
                    [
                        4, Gen.map Append size
                        4, Gen.map2 (fun wanted used -> Write(wanted, used)) size thousandths
                        4, Gen.map Take thousandths
                        3, Gen.map2 (fun added sent -> TakeOver(added, sent)) size thousandths
                        1, Gen.constant Forget
                    ])
    }

let private output =
    Law.test
        "a connection sends the bytes that were written, in their order, and holds little more than them"
        2000
        [
            "written after some were sent", 200
            "taken over into some", 200
            "taken over into none", 200
            "empty again", 200
        ]
        (Arb.fromGen outputSteps)
        (fun seen steps ->
            let mutable bytes = OutputBytes()
            let mutable first = 0L
            let mutable last = 0L
            // The most that it has had to have room for since it became empty. (Room that is not used stays.)
            let mutable most = 0

            let have (length: int) = most <- max most length

            let check () =
                Expect.equal bytes.Length (int (last - first)) "how many there are"

                if not (bytes.Span.SequenceEqual(numbered first (int (last - first)))) then
                    failtestf "other bytes than those from %d to %d" first last

            for step in steps do
                seen.When("empty again", last > 0L && first = last)

                match step with
                | Append count ->
                    seen.When("written after some were sent", first > 0L && last > first && count > 0)
                    have (bytes.Length + count)
                    bytes.Add(ReadOnlySpan(numbered last count))
                    last <- last + int64 count
                | Write(wanted, used) ->
                    have (bytes.Length + wanted)
                    let room = bytes.Room(wanted).Span
                    Expect.isGreaterThanOrEqual room.Length (max 1 wanted) "room"
                    Expect.isLessThanOrEqual room.Length (8 * max 4096 most) "no more than it needs"
                    let count = wanted * used / 1000

                    for i in 0 .. count - 1 do
                        room[i] <- byteAt (last + int64 i)

                    bytes.Added count
                    last <- last + int64 count
                | Take thousandths ->
                    let count = bytes.Length * thousandths / 1000

                    if count > 0 then
                        bytes.Sent count
                        first <- first + int64 count

                        if first = last then
                            most <- 0
                | TakeOver(added, sent) ->
                    let mutable other = OutputBytes()
                    // What has been sent of it does not count.
                    let gone =
                        if added > 0 then
                            min (added - 1) (added * sent / 1000)
                        else
                            0

                    other.Add(ReadOnlySpan(numbered (last - int64 gone) added))

                    if gone > 0 then
                        other.Sent gone

                    seen.When("taken over into some", bytes.Length > 0 && added > 0)
                    seen.When("taken over into none", bytes.Length = 0 && added > 0)

                    most <-
                        if bytes.Length = 0 then
                            added
                        else
                            max most (bytes.Length + added)

                    bytes.TakeOver &other
                    Expect.equal other.Length 0 "the other one is empty"
                    other.Clear()
                    last <- last + int64 (added - gone)
                | Forget ->
                    bytes.Clear()
                    first <- last
                    most <- 0

                check ()

            bytes.Clear())

[<Tests>]
let tests = testList "buffers of connections" [ input; output ]
