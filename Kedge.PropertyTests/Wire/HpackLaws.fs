/// Header compression (RFC 7541).
module Kedge.PropertyTests.Wire.HpackLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Http2
open Kedge.Wire.Http2.Hpack

let private latin (text: string) = Encoding.Latin1.GetBytes text

let private fieldsOf (block: HeaderBlock) = [ for field in block.Fields.ToArray() -> field.Name.Text, field.Value ]

let private decode (decoder: HpackDecoder) limit (bytes: byte array) =
    let block = HeaderBlock limit

    if decoder.TryDecode(ReadOnlySpan bytes, block) then
        Some(fieldsOf block)
    else
        None

let private huffmanEncode (bytes: byte array) =
    let encoded = Array.zeroCreate<byte>(HpackHuffman.EncodedLength bytes)
    let written = HpackHuffman.Encode(ReadOnlySpan bytes, Span encoded)
    Expect.equal written encoded.Length "the length was known"
    encoded

let private huffmanDecode (bytes: byte array) =
    let decoded = Array.zeroCreate<byte>(HpackHuffman.MaxDecodedLength bytes.Length)
    let mutable written = 0

    if HpackHuffman.TryDecode(ReadOnlySpan bytes, Span decoded, &written) then
        Some decoded[.. written - 1]
    else
        None

let private readInteger (bytes: byte array) prefix =
    let mutable position = 0
    let mutable value = 0

    if HpackInteger.TryRead(ReadOnlySpan bytes, &position, prefix, &value) then
        Some(value, position)
    else
        None

/// Appendix C: the blocks that one connection carries one after the other, what they mean, and the size of the table after each.
let private sequences =
    [
        "C.2.1: a literal that is indexed",
        4096,
        [
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572", [ "custom-key", "custom-header" ], 55
        ]
        "C.2.2: a literal that is not indexed", 4096, [ "040c2f73616d706c652f70617468", [ ":path", "/sample/path" ], 0 ]
        "C.2.3: a literal that is never indexed",
        4096,
        [ "100870617373776f726406736563726574", [ "password", "secret" ], 0 ]
        "C.2.4: an indexed field", 4096, [ "82", [ ":method", "GET" ], 0 ]
        "C.3: requests without the Huffman code",
        4096,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            [
                ":method", "GET"
                ":scheme", "http"
                ":path", "/"
                ":authority", "www.example.com"
            ],
            57
            "828684be58086e6f2d6361636865",
            [
                ":method", "GET"
                ":scheme", "http"
                ":path", "/"
                ":authority", "www.example.com"
                "cache-control", "no-cache"
            ],
            110
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            [
                ":method", "GET"
                ":scheme", "https"
                ":path", "/index.html"
                ":authority", "www.example.com"
                "custom-key", "custom-value"
            ],
            164
        ]
        "C.4: requests with the Huffman code",
        4096,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            [
                ":method", "GET"
                ":scheme", "http"
                ":path", "/"
                ":authority", "www.example.com"
            ],
            57
            "828684be5886a8eb10649cbf",
            [
                ":method", "GET"
                ":scheme", "http"
                ":path", "/"
                ":authority", "www.example.com"
                "cache-control", "no-cache"
            ],
            110
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            [
                ":method", "GET"
                ":scheme", "https"
                ":path", "/index.html"
                ":authority", "www.example.com"
                "custom-key", "custom-value"
            ],
            164
        ]
        "C.5: responses without the Huffman code, with evictions",
        256,
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            [
                ":status", "302"
                "cache-control", "private"
                "date", "Mon, 21 Oct 2013 20:13:21 GMT"
                "location", "https://www.example.com"
            ],
            222
            "4803333037c1c0bf",
            [
                ":status", "307"
                "cache-control", "private"
                "date", "Mon, 21 Oct 2013 20:13:21 GMT"
                "location", "https://www.example.com"
            ],
            222
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
            [
                ":status", "200"
                "cache-control", "private"
                "date", "Mon, 21 Oct 2013 20:13:22 GMT"
                "location", "https://www.example.com"
                "content-encoding", "gzip"
                "set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
            ],
            215
        ]
        "C.6: responses with the Huffman code, with evictions",
        256,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            [
                ":status", "302"
                "cache-control", "private"
                "date", "Mon, 21 Oct 2013 20:13:21 GMT"
                "location", "https://www.example.com"
            ],
            222
            "4883640effc1c0bf",
            [
                ":status", "307"
                "cache-control", "private"
                "date", "Mon, 21 Oct 2013 20:13:21 GMT"
                "location", "https://www.example.com"
            ],
            222
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            [
                ":status", "200"
                "cache-control", "private"
                "date", "Mon, 21 Oct 2013 20:13:22 GMT"
                "location", "https://www.example.com"
                "content-encoding", "gzip"
                "set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
            ],
            215
        ]
    ]

let private examples =
    [
        for name, tableSize, blocks in sequences do
            testCase name (fun () ->
                let decoder = HpackDecoder tableSize

                for hex, fields, size in blocks do
                    Expect.equal (decode decoder 65536 (Convert.FromHexString hex)) (Some fields) hex
                    Expect.equal decoder.TableSize size "the table")

        for prefix, value, hex in [ 5, 10, "0a"; 5, 1337, "1f9a0a"; 8, 42, "2a"; 5, 31, "1f00"; 7, 127, "7f00" ] do
            testCase $"C.1: {value} behind {prefix} bits" (fun () ->
                let bytes = Array.zeroCreate<byte> HpackInteger.MaxLength
                let written = HpackInteger.Write(Span bytes, 0uy, prefix, value)
                Expect.equal (Convert.ToHexString bytes[.. written - 1]) (hex.ToUpperInvariant()) "written"
                Expect.equal (readInteger bytes[.. written - 1] prefix) (Some(value, written)) "read")

        for text, hex in
            [
                "www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"
                "no-cache", "a8eb10649cbf"
                "custom-value", "25a849e95bb8e8b4bf"
                "302", "6402"
                "Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ] do
            testCase $"the Huffman code of {text}" (fun () ->
                Expect.equal (Convert.ToHexString(huffmanEncode (latin text))) (hex.ToUpperInvariant()) "")

        for what, hex in
            [
                "an integer of more than 31 bits", "ffffffffff0f"
                "an integer with endless leading zeros", "ff808080808000"
                "an integer that ends early", "ff80"
                "index 0", "80"
                "an index beyond the tables", "be"
                "a name's index beyond the tables", "7e0161"
                "a name that ends early", "4003616"
                "a value that ends early", "0001610261"
                "no value", "000161"
                "a table larger than the setting", "3fe21f"
                "a resize after a field", "8220"
                "padding with a zero", "0001618118"
                "padding of eight bits", "000161821fff"
                "the end-of-string symbol", "00016184ffffffff"
            ] do
            testCase $"{what} is refused" (fun () ->
                let bytes = Convert.FromHexString(if hex.Length % 2 = 0 then hex else hex + "1")
                Expect.isNone (decode (HpackDecoder 4096) 65536 bytes) "")

        testCase "a resize at the beginning of a block evicts" (fun () ->
            let decoder = HpackDecoder 4096

            decode decoder 65536 (Convert.FromHexString "400a637573746f6d2d6b65790d637573746f6d2d686561646572")
            |> ignore

            Expect.equal
                (decode decoder 65536 [| 0x20uy; 0x3Fuy; 0xE1uy; 0x1Fuy; 0x82uy |])
                (Some [ ":method", "GET" ])
                ""

            Expect.equal decoder.TableSize 0 "")

        testCase "an entry that is larger than the table empties it" (fun () ->
            let decoder = HpackDecoder 64
            decode decoder 65536 [| 0x40uy; 1uy; byte 'a'; 1uy; byte 'b' |] |> ignore
            Expect.equal decoder.TableSize 34 "one entry"

            let long =
                Array.concat [ [| 0x40uy; 1uy; byte 'a'; 40uy |]; Array.create 40 (byte 'b') ]

            Expect.equal (decode decoder 65536 long) (Some [ "a", String('b', 40) ]) "is a field all the same"
            Expect.equal decoder.TableSize 0 "no entry")

        testCase "what is secret never enters a table" (fun () ->
            let encoder = HpackEncoder(4096, false)

            for _ in 1..5 do
                let output = OutputBuffer()
                encoder.Begin output
                encoder.Add(output, "Authorization", "Bearer abc")
                encoder.Add(output, "Cookie", "id=1")
                Expect.equal (output.Memory.Span[0] &&& 0xF0uy) 0x10uy "never indexed"

            Expect.equal encoder.TableSize 0 "")

        testCase "what repeats shrinks to one byte" (fun () ->
            let encoder = HpackEncoder(4096, false)

            let lengths =
                [
                    for _ in 1..3 do
                        let output = OutputBuffer()
                        encoder.Begin output
                        encoder.Add(output, "x-tenant", "some-tenant")
                        output.Length
                ]

            Expect.equal lengths [ 22; 22; 1 ] "seen, entered, referred to")
    ]

let private names =
    Gen.frequency
        [
            (4,
             Gen.elements
                 [
                     ":path"
                     ":authority"
                     ":status"
                     "content-type"
                     "cookie"
                     "authorization"
                     "grpc-status"
                     "te"
                     "date"
                 ])
            (2, Gen.elements [ "x-a"; "x-b"; "a"; "z"; "x-" + String('n', 300) ])
            (1,
             Gen.nonEmptyListOf (Gen.choose (int 'a', int 'z') |> Gen.map char)
             |> Gen.map (List.toArray >> String))
        ]

let private values =
    Gen.frequency
        [
            (4,
             Gen.elements
                 [
                     ""
                     "200"
                     "0"
                     "/"
                     "application/grpc"
                     "/pkg.Service/Method"
                     String('v', 200)
                     String('w', 5000)
                 ])
            (2,
             Gen.listOf (Gen.choose (32, 126) |> Gen.map char)
             |> Gen.map (List.toArray >> String))
            (1,
             Gen.listOf (Gen.choose (0, 255) |> Gen.map char)
             |> Gen.map (List.toArray >> String))
        ]

/// Blocks, one after the other, each behind a new setting of the peer or none.
let private connections =
    let field = Gen.zip names values

    let block =
        Gen.zip
            (Gen.frequency
                [
                    (4, Gen.constant None)
                    (1, Gen.elements [ 0u; 40u; 100u; 300u; 4096u; 100_000u ] |> Gen.map Some)
                ])
            (Gen.listOf field)

    Gen.zip (Gen.elements [ true; false ]) (Gen.listOf block)

let private encodeAll (seen: Seen) (usesHuffman: bool) blocks =
    let encoder = HpackEncoder(4096, usesHuffman)
    let decoder = HpackDecoder 4096

    for resize, fields in blocks do
        match resize with
        | Some(size: uint32) -> encoder.Resize size
        | None -> ()

        let output = OutputBuffer()
        encoder.Begin output

        for name: string, value: string in fields do
            encoder.Add(output, name, value)

        let bytes = output.Memory.ToArray()
        Expect.equal (decode decoder Int32.MaxValue bytes) (Some fields) "what was decoded is what was encoded"
        Expect.equal decoder.TableSize encoder.TableSize "both tables are the same"
        Expect.isLessThanOrEqual encoder.TableSize 4096 "the table is bounded"
        seen.When("with a table", decoder.TableSize > 0)
        seen.When("with an index", bytes |> Array.exists (fun byte -> byte > 0xBEuy))
        seen.When("after a resize", resize.IsSome && not fields.IsEmpty)

/// Sound blocks with some bytes changed, and plain noise.
let private hostileBlocks =
    let noise = Gen.arrayOf (Gen.choose (0, 255) |> Gen.map byte)

    let changed =
        gen {
            let! usesHuffman = Gen.elements [ true; false ]
            let! fields = Gen.listOf (Gen.zip names values)
            let encoder = HpackEncoder(4096, usesHuffman)
            let output = OutputBuffer()
            encoder.Begin output

            for name, value in fields do
                encoder.Add(output, name, value)

            let bytes = output.Memory.ToArray()

            let! changes =
                Gen.listOf (Gen.zip (Gen.choose (0, max 0 (bytes.Length - 1))) (Gen.choose (0, 255)))

            for at, value in changes do
                if bytes.Length > 0 then
                    bytes[at] <- byte value

            return bytes
        }

    Gen.listOf (Gen.frequency [ (1, noise); (2, changed) ])

[<Tests>]
let tests =
    testList
        "HTTP/2 header compression"
        [
            testList "examples of RFC 7541" examples

            Law.test
                "what the Huffman code encodes, it decodes"
                500
                [ ("not empty", 100) ]
                (Arb.fromGen (Gen.arrayOf (Gen.choose (0, 255) |> Gen.map byte)))
                (fun seen bytes ->
                    seen.When("not empty", bytes.Length > 0)
                    Expect.equal (huffmanDecode (huffmanEncode bytes)) (Some bytes) "")

            Law.test
                "an integer is read as it was written, and nothing shorter is one"
                500
                [ ("of several bytes", 100) ]
                (Arb.fromGen (
                    Gen.zip
                        (Gen.choose (1, 8))
                        (Gen.oneof
                            [
                                Gen.choose (0, 300)
                                Gen.choose (0, Int32.MaxValue)
                                Gen.constant Int32.MaxValue
                            ])
                ))
                (fun seen (prefix, value) ->
                    let bytes = Array.zeroCreate<byte> HpackInteger.MaxLength
                    let written = HpackInteger.Write(Span bytes, 0uy, prefix, value)
                    Expect.equal (readInteger bytes[.. written - 1] prefix) (Some(value, written)) ""

                    if written > 1 then
                        seen.Count "of several bytes"
                        Expect.isNone (readInteger bytes[.. written - 2] prefix) "")

            Law.test
                "decoding is the inverse of encoding, and both tables stay the same"
                500
                [ ("with a table", 100); ("with an index", 50); ("after a resize", 50) ]
                (Arb.fromGen connections)
                (fun seen (usesHuffman, blocks) -> encodeAll seen usesHuffman blocks)

            Law.test
                "no block makes a decoder throw or hold more than its bounds"
                1000
                [ ("decoded", 100); ("refused", 100); ("too large", 20) ]
                (Arb.fromGen hostileBlocks)
                (fun seen blocks ->
                    let decoder = HpackDecoder 512
                    let block = HeaderBlock 1000
                    let mutable isSound = true

                    for bytes in blocks do
                        if isSound then
                            isSound <- decoder.TryDecode(ReadOnlySpan bytes, block)
                            seen.Count(if isSound then "decoded" else "refused")
                            seen.When("too large", isSound && block.IsTooLarge)
                            Expect.isLessThanOrEqual decoder.TableSize 512 "the table"
                            Expect.isLessThanOrEqual block.Size 1000 "the fields"

                            Expect.equal
                                block.Size
                                (fieldsOf block
                                 |> List.sumBy (fun (name, value) -> name.Length + value.Length + 32))
                                "the size is that of the fields")
        ]
