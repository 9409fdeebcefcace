/// The first message of a TLS handshake: its name is found however the message arrives, and nobody makes kedge wait for
/// more than the longest one.
module Kedge.PropertyTests.Wire.ClientHelloLaws

open System
open System.Buffers
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Tls

let private octets (count: int) = Gen.arrayOfLength count (Gen.choose (0, 255) |> Gen.map byte)

let private vector (lengthSize: int) (content: byte array) =
    let length = [| byte (content.Length >>> 8); byte content.Length |]
    Array.append (if lengthSize = 1 then [| byte content.Length |] else length) content

let private name =
    gen {
        let! length = Gen.frequency [ 6, Gen.choose (1, 60); 1, Gen.choose (200, 255) ]

        let! letters =
            Gen.arrayOfLength length (Gen.elements [ 'a'; 'b'; 'z'; '0'; '-'; '.' ])

        return String letters
    }

let private extension (kind: int) (content: byte array) =
    Array.append [| byte (kind >>> 8); byte kind |] (vector 2 content)

let private nameExtension (name: string) =
    extension 0 (vector 2 (Array.append [| 0uy |] (vector 2 (Encoding.ASCII.GetBytes name))))

let private otherExtension =
    gen {
        let! kind = Gen.choose (1, 0xffff)
        let! length = Gen.frequency [ 8, Gen.choose (0, 60); 1, Gen.choose (1000, 2000) ]
        let! content = octets length
        return extension kind content
    }

let private message (body: byte array) = Array.concat [ [| 1uy; byte (body.Length >>> 16) |]; vector 2 body ]

/// A message with its header, and the name in it.
let private hello =
    gen {
        let! random = octets 32
        let! session = Gen.choose (0, 32) >>= octets
        let! suites = Gen.choose (1, 30) >>= (fun count -> octets (2 * count))
        let! name = Gen.optionOf name
        let! before = Gen.resize 6 (Gen.listOf otherExtension)
        let! after = Gen.resize 6 (Gen.listOf otherExtension)

        let extensions =
            List.concat [ before; name |> Option.map nameExtension |> Option.toList; after ]
            |> Array.concat

        let body =
            Array.concat
                [
                    [| 3uy; 3uy |]
                    random
                    vector 1 session
                    vector 2 suites
                    vector 1 [| 0uy |]
                    vector 2 extensions
                ]

        return message body, defaultArg name ""
    }

/// The message in records of these sizes, over and over.
let private records (sizes: int list) (message: byte array) =
    let rec cut (rest: byte array) (sizes: int list) (later: int list) =
        match rest, sizes with
        | [||], _ -> []
        | _, [] -> cut rest later later
        | _, size :: sizes ->
            let size = min size rest.Length

            Array.append [| 22uy; 3uy; 1uy |] (vector 2 rest[.. size - 1])
            :: cut rest[size..] sizes later

    cut message sizes sizes |> Array.concat

type private Segment(memory: ReadOnlyMemory<byte>, before: int64) as this =
    inherit ReadOnlySequenceSegment<byte>()

    do
        this.Memory <- memory
        this.RunningIndex <- before

    member this.Append(memory: ReadOnlyMemory<byte>) =
        let next = Segment(memory, this.RunningIndex + int64 this.Memory.Length)
        this.Next <- next
        next

/// The bytes in segments that end at these thousandths.
let private segments (cuts: int list) (bytes: byte array) : ReadOnlySequence<byte> =
    let places =
        0 :: (cuts |> List.map (fun cut -> bytes.Length * cut / 1000) |> List.sort)
        @ [ bytes.Length ]

    let parts =
        places
        |> List.pairwise
        |> List.map (fun (first, last) -> ReadOnlyMemory(bytes, first, last - first))

    let first = Segment(parts.Head, 0L)

    let last =
        parts.Tail
        |> List.fold (fun (segment: Segment) part -> segment.Append part) first

    ReadOnlySequence(first, 0, last, last.Memory.Length)

let private arriving =
    gen {
        let! message, name = hello

        let! sizes =
            Gen.frequency
                [
                    3, Gen.constant [ 16384 ]
                    2, Gen.nonEmptyListOf (Gen.choose (100, 3000))
                    1, Gen.nonEmptyListOf (Gen.choose (1, 200))
                ]

        let! more = Gen.frequency [ 2, Gen.constant 0; 1, Gen.choose (1, 50) ]
        let! more = octets more
        let! cuts = Gen.resize 5 (Gen.listOf (Gen.choose (0, 1000)))
        let! part = Gen.choose (0, 999)
        return records sizes message, more, name, cuts, part
    }

let private status (bytes: ReadOnlySequence<byte>) =
    let mutable name = ""
    let status = ClientHello.Read(&bytes, &name)
    status, name

let private found =
    Law.test
        "a client's name is found however its first message is cut into records, and these are split on arrival"
        2000
        [
            "with a name", 200
            "without", 200
            "several records", 200
            "several segments", 200
            "a part", 200
        ]
        (Arb.fromGen arriving)
        (fun seen (bytes, more, name, cuts, part) ->
            seen.When("with a name", name <> "")
            seen.When("without", (name = ""))
            let first = 5 + (int bytes[3] <<< 8 ||| int bytes[4])
            seen.When("several records", first < bytes.Length)
            seen.When("several segments", not (List.isEmpty cuts))

            // Very many small records are too long before the message is complete.
            if bytes.Length < ClientHello.MaxReceived then
                let whole = segments cuts (Array.append bytes more)
                Expect.equal (status whole) (ClientHelloStatus.Complete, name) "the whole message"
                let length = bytes.Length * part / 1000
                seen.When("a part", length > 0)

                Expect.equal
                    (status (segments cuts bytes[.. length - 1]))
                    (ClientHelloStatus.Incomplete, "")
                    "a part of it")

/// A message of which some bytes were changed, and bytes of no kind.
let private mangled =
    gen {
        let! bytes, more, _, cuts, part = arriving

        let! changes =
            Gen.resize 4 (Gen.listOf (Gen.zip (Gen.choose (0, bytes.Length - 1)) (Gen.choose (0, 255))))

        let changed = Array.copy bytes

        for place, value in changes do
            changed[place] <- byte value

        let! noise = Gen.choose (0, 200) >>= octets
        let! letter = Gen.choose (0, 255)
        // The longest message there may be, in the smallest records.
        let tiny = Array.append [| 22uy; 3uy; 1uy |] (vector 2 [| byte letter |])
        let first = Array.append [| 22uy; 3uy; 1uy |] (vector 2 [| 1uy; 0uy; 0x80uy; 0uy |])
        let endless = Array.concat (Array.append [| first |] (Array.create 8_000 tiny))
        // A message that ends too early, in a record that does not.
        let! whole, _ = hello

        let! missing =
            Gen.frequency [ 1, Gen.choose (1, 3); 1, Gen.choose (1, whole.Length - 4) ]

        let shortened = records [ 16384 ] (message whole[4 .. whole.Length - 1 - missing])

        return!
            Gen.elements
                [
                    Array.append changed more, cuts
                    bytes[.. bytes.Length * part / 1000], cuts
                    Array.append [| 22uy; 3uy |] noise, cuts
                    noise, cuts
                    endless, cuts
                    shortened, cuts
                ]
    }

let private bounded =
    Law.test
        "no first bytes of a connection make kedge fail, or wait for more than the longest first message"
        3000
        [
            "complete", 100
            "incomplete", 100
            "not TLS", 100
            "longer than the longest", 100
        ]
        (Arb.fromGen mangled)
        (fun seen (bytes, cuts) ->
            let status, name = status (segments cuts bytes)
            seen.When("complete", (status = ClientHelloStatus.Complete))
            seen.When("incomplete", (status = ClientHelloStatus.Incomplete))
            seen.When("not TLS", (status = ClientHelloStatus.NotTls))
            let isLong = bytes.Length >= ClientHello.MaxReceived
            seen.When("longer than the longest", isLong)
            Expect.isTrue (Ascii.IsValid(name.AsSpan())) "the name is text"

            if isLong then
                Expect.notEqual status ClientHelloStatus.Incomplete "waits for no more")

[<Tests>]
let tests = testList "first message of TLS" [ found; bounded ]
