module Kedge.Client.Tests.Library.SchemeStreamTests

open System
open System.IO
open Expecto
open FsCheck.FSharp
open Kedge.Client.Connections
open Kedge.PropertyTests

let private preface =
    Text.Encoding.ASCII.GetBytes "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

let private frame (kind: byte) (payload: byte array) =
    Array.concat
        [
            [|
                byte (payload.Length >>> 16)
                byte (payload.Length >>> 8)
                byte payload.Length
                kind
                4uy
                0uy
                0uy
                0uy
                1uy
            |]
            payload
        ]

/// What the handler writes of a method, and the rest of a header block.
let private block (methodField: byte array) (scheme: byte) (rest: byte array) =
    Array.concat [ methodField; [| scheme |]; rest ]

let private put = Array.append [| 2uy; 3uy |] (Text.Encoding.ASCII.GetBytes "PUT")

/// Frames as they are written, and as they are to arrive.
let private exchange =
    let bytes = Gen.choose (0x80, 0x90) |> Gen.map byte |> Gen.arrayOf

    let frames =
        Gen.frequency
            [
                3,
                gen {
                    let! methodField = Gen.elements [ [| 0x82uy |]; [| 0x83uy |]; put ]
                    let! rest = bytes
                    return frame 1uy (block methodField 0x86uy rest), frame 1uy (block methodField 0x87uy rest)
                }
                // A body, whatever its bytes are, and other frames.
                3,
                gen {
                    let! kind = Gen.elements [ 0uy; 4uy; 6uy; 8uy; 9uy ]
                    let! body = bytes
                    let body = Array.append [| 0x82uy; 0x86uy |] body
                    return frame kind body, frame kind body
                }
                // Blocks that begin in a way of which the stream knows nothing.
                1,
                gen {
                    let! start =
                        Gen.elements [ [| 0x84uy; 0x86uy |]; [| 0x40uy; 0x86uy |]; [| 2uy; 0x83uy; 0x86uy |]; [||] ]

                    return frame 1uy start, frame 1uy start
                }
            ]

    gen {
        let! frames = Gen.listOfLength 6 frames
        let sent = Array.concat (preface :: List.map fst frames)
        let expected = Array.concat (preface :: List.map snd frames)
        let! cuts = Gen.listOfLength 5 (Gen.choose (0, sent.Length))
        return sent, expected, List.sort cuts
    }

[<Tests>]
let laws =
    testList
        "scheme on the wire"
        [
            Law.test
                "requests say https, everything else passes, wherever writes are cut"
                500
                [ "patched", 100; "not patched", 10 ]
                (Arb.fromGen exchange)
                (fun seen (sent, expected, cuts) ->
                    use target = new MemoryStream()
                    use stream = new SchemeStream(target)
                    let original = Array.copy sent

                    for first, last in Seq.pairwise (0 :: cuts @ [ sent.Length ]) do
                        stream.WriteAsync(ReadOnlyMemory(sent, first, last - first)).AsTask().Wait()

                    seen.Count(if sent = expected then "not patched" else "patched")
                    Expect.equal (target.ToArray()) expected "on the wire"
                    Expect.equal sent original "the writer's own bytes are not changed")
        ]
