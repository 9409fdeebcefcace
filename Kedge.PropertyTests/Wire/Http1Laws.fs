/// The protocol parts of the HTTP/1.1 client: any split of the bytes gives the same events, decoding undoes encoding, and
/// a hostile peer makes nothing grow beyond its bound.
module Kedge.PropertyTests.Wire.Http1Laws

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.Http1
open Kedge.Wire.Upstream

let private latin1 (text: string) = Encoding.Latin1.GetBytes text

/// The bytes in pieces of these sizes; the rest in one piece.
let private pieces (sizes: int list) (bytes: byte array) =
    let rec cut at sizes =
        match sizes with
        | _ when at >= bytes.Length -> []
        | size :: others ->
            let size = min (max 1 size) (bytes.Length - at)
            bytes[at .. at + size - 1] :: cut (at + size) others
        | [] -> [ bytes[at..] ]

    cut 0 sizes

let private sizes = Gen.listOf (Gen.choose (1, 9))

let private name =
    gen {
        let! length = Gen.choose (1, 12)
        let! letters = Gen.arrayOfLength length (Gen.elements "abcXYZ09-_!#$%&'*+.^`|~")
        return String letters
    }

let private value =
    gen {
        let! length = Gen.choose (0, 20)

        let! characters =
            Gen.arrayOfLength length (Gen.elements "ab ,;:=\"\t\u00e9\u00ff(/)")

        return (String characters).Trim([| ' '; '\t' |])
    }

let private fields = Gen.listOf (Gen.zip name value)

/// A head as a server may write it, and what it says.
let private head =
    gen {
        let! status = Gen.choose (100, 999)
        let! version = Gen.elements [ "1.0"; "1.1" ]
        let! reason = Gen.elements [ ""; " "; " OK"; " Not Found"; " Ol\u00e9" ]
        let! fields = fields
        let! padding = Gen.elements [ ""; " "; "\t " ]

        let lines =
            fields
            |> List.map (fun (name, value) -> $"{name}:{padding}{value}{padding}\r\n")
            |> String.concat ""

        return $"HTTP/{version} {status}{reason}\r\n{lines}\r\n", (status, version, reason.Trim(), fields)
    }

let private list (fields: FieldList) =
    [
        for i in 0 .. fields.Count - 1 do
            fields[i].Name, fields[i].Value
    ]

/// What is left unconsumed is given again with the next piece, as a connection does.
let private parse (parser: ResponseHeadParser) (pieces: byte array list) =
    parser.Reset()

    let rec go (rest: byte array) (longest: int) pieces =
        match pieces with
        | [] -> ParseStatus.Incomplete, rest, longest
        | (piece: byte array) :: others ->
            let bytes = Array.append rest piece
            let mutable consumed = 0
            let status = parser.Parse(ReadOnlySpan bytes, &consumed)
            let rest = bytes[consumed..]

            if status = ParseStatus.Incomplete then
                go rest (max longest rest.Length) others
            else
                status, Array.append rest (Array.concat others), longest

    go [||] 0 pieces

let private chunk =
    gen {
        let! length = Gen.choose (1, 40)
        let! data = Gen.arrayOfLength length (Gen.map byte (Gen.choose (0, 255)))

        let! extension =
            Gen.elements [ ""; ";a"; ";a=b"; ";a=\"x;\\\"y\r\"".Replace("\r", " "); ";a=1;b=\"\"" ]

        let! upper = Gen.elements [ true; false ]
        return data, extension, upper
    }

let private encodeChunks chunks =
    let one (data: byte array, extension: string, upper: bool) =
        let size = if upper then $"{data.Length:X}" else $"00{data.Length:x}"
        Array.concat [ latin1 $"{size}{extension}\r\n"; data; "\r\n"B ]

    Array.append (chunks |> List.map one |> Array.concat) "0\r\n"B

/// Content, and whether the end was reached, when the input comes in pieces and the output takes so much at a time.
let private decode (pieces: byte array list) (room: int) =
    let mutable decoder = ChunkedDecoder()
    let content = ResizeArray<byte>()
    let mutable isValid = true
    let mutable rest = [||]

    for piece in pieces do
        let bytes = Array.append rest piece
        let mutable at = 0
        let mutable goes = isValid

        while goes do
            let output = Array.zeroCreate<byte> room
            let mutable consumed = 0
            let mutable written = 0

            isValid <-
                decoder.TryDecode(ReadOnlySpan(bytes, at, bytes.Length - at), output.AsSpan(), &consumed, &written)

            content.AddRange output[.. written - 1]
            at <- at + consumed
            goes <- isValid && consumed > 0 && at < bytes.Length && not decoder.HasEnded

        rest <- bytes[at..]

    isValid, decoder.HasEnded, content.ToArray(), rest

let private bytes = Gen.arrayOf (Gen.map byte (Gen.choose (0, 255)))

/// Bytes that look like a response for a while.
let private hostile =
    gen {
        let! text, _ = head
        let valid = latin1 text
        let! keep = Gen.choose (0, valid.Length)

        let! wild =
            Gen.oneof [ bytes; Gen.map latin1 (Gen.elements [ "\n"; "\r"; "\000"; ": x"; "\r\n x" ]) ]

        let! repeats = Gen.choose (1, 60)

        return
            Array.concat
                [
                    valid[.. keep - 1]
                    Array.concat (List.replicate repeats wild)
                    valid[keep..]
                ]
    }

let private request =
    gen {
        let! target = Gen.elements [ "/"; "/a?"; "/caf\u00e9?x=%20" ]
        let! fields = fields
        let! length = Gen.elements [ None; Some 0L; Some 12L ]
        let! hasContent = Gen.elements [ true; false ]
        let! method = Gen.elements [ "GET"; "POST"; "PURGE" ]
        return method, target, fields, length, hasContent
    }

let private build (method: string, target: string, fields: (string * string) list, length: int64 option, hasContent) =
    let request =
        UpstreamRequest(Method = method, Target = target, Scheme = "http", Authority = "a.example:80")

    for name, value in fields do
        request.Fields.Add(name, value)

    request.ContentLength <- Option.toNullable length

    if hasContent then
        request.Content <- new System.Net.Http.ByteArrayContent([||])

    request

let private encode request =
    let output = OutputBuffer 16
    RequestHeadEncoder.Encode(request, output)
    Encoding.Latin1.GetString output.Memory.Span

let private framing method status fields =
    let list = FieldList()

    for name, value in fields do
        list.Add(name, value)

    ResponseFraming.Of(method, status, false, list)

[<Tests>]
let tests =
    testList
        "wire: HTTP/1.1"
        [
            Law.test
                "a head gives the same fields in whatever pieces it comes"
                500
                [ "fields", 100; "pieces", 200 ]
                (Arb.fromGen (Gen.zip head sizes))
                (fun seen ((text, (status, version, reason, fields)), sizes) ->
                    let cut = pieces sizes (latin1 text)
                    seen.When("fields", not fields.IsEmpty)
                    seen.When("pieces", cut.Length > 3)
                    let parser = ResponseHeadParser 4096
                    let result, rest, _ = parse parser (cut @ [ "next"B ])
                    Expect.equal result ParseStatus.Complete (string parser.Error)
                    Expect.equal rest "next"B "what follows is left"
                    Expect.equal parser.StatusCode status "status"
                    Expect.equal parser.IsHttp10 (version = "1.0") "version"
                    Expect.equal (Option.ofObj parser.ReasonPhrase |> Option.defaultValue "") reason "reason"
                    Expect.equal (list parser.Fields) fields "fields")

            Law.test
                "a second head on a connection is read like the first, whatever that was"
                200
                [ "same", 20 ]
                (Arb.fromGen (Gen.zip head (Gen.zip head (Gen.elements [ true; false ]))))
                (fun seen ((first, _), ((second, expected), same)) ->
                    let parser = ResponseHeadParser 4096
                    let second = if same then first else second
                    parse parser [ latin1 first ] |> ignore
                    let fields = list parser.Fields
                    let result, _, _ = parse parser [ latin1 second ]
                    Expect.equal result ParseStatus.Complete "complete"
                    seen.When("same", same)
                    let _, _, _, others = expected
                    Expect.equal (list parser.Fields) (if same then fields else others) "fields")

            Law.test
                "a hostile head ends, in whatever pieces, and nothing beyond the limit is kept"
                500
                [ "malformed", 100; "too large", 5 ]
                (Arb.fromGen (Gen.zip hostile sizes))
                (fun seen (bytes, sizes) ->
                    let limit = 300
                    let whole, _, _ = parse (ResponseHeadParser limit) [ bytes ]
                    let parser = ResponseHeadParser limit
                    let split, _, kept = parse parser (pieces sizes bytes)
                    seen.When("malformed", (split = ParseStatus.Malformed))
                    seen.When("too large", (split = ParseStatus.TooLarge))
                    Expect.isLessThanOrEqual kept (limit + 9) "kept"

                    let size =
                        list parser.Fields
                        |> List.sumBy (fun (name, value) -> name.Length + value.Length)

                    Expect.isLessThanOrEqual size limit "fields"

                    if whole = ParseStatus.Complete || split = ParseStatus.Complete then
                        Expect.equal split whole "the same verdict")

            Law.test
                "chunked content decodes to itself, in whatever pieces it comes and goes"
                500
                [ "content", 200; "small room", 100 ]
                (Arb.fromGen (Gen.zip (Gen.listOf chunk) (Gen.zip sizes (Gen.choose (1, 64)))))
                (fun seen (chunks, (sizes, room)) ->
                    let content = chunks |> List.map (fun (data, _, _) -> data) |> Array.concat
                    seen.When("content", content.Length > 0)
                    seen.When("small room", room < content.Length)
                    let cut = pieces sizes (encodeChunks chunks)
                    let isValid, hasEnded, decoded, rest = decode cut room
                    Expect.isTrue isValid "valid"
                    Expect.isTrue hasEnded "ended"
                    Expect.equal decoded content "content"
                    Expect.isEmpty rest "nothing is left")

            Law.test
                "arbitrary bytes never make the chunked coding invent content"
                1000
                [ "malformed", 300 ]
                (Arb.fromGen (Gen.zip bytes sizes))
                (fun seen (bytes, sizes) ->
                    let isValid, _, decoded, _ = decode (pieces sizes bytes) 8
                    seen.When("malformed", not isValid)
                    Expect.isLessThanOrEqual decoded.Length bytes.Length "content")

            for text in
                [
                    "5 \r\nhello\r\n"
                    " 5\r\nhello\r\n"
                    "5\nhello\n"
                    "0x5\r\nhello\r\n"
                    "-5\r\nhello\r\n"
                    "1000000000000000\r\n"
                    "ffffffffffffffff\r\n"
                    "5;\r\nhello\r\n"
                    "5; a\r\nhello\r\n"
                    "5;a=\"x\000\"\r\nhello\r\n"
                    "5;a=\"x\"b\r\nhello\r\n"
                    "5\r\nhelloX\r\n"
                    "5\r\nhello\n"
                    "\r\n"
                ] do
                testCase $"chunks are malformed: %A{text}" (fun () ->
                    let isValid, _, _, _ = decode [ latin1 text ] 64
                    Expect.isFalse isValid "refused")

            testCase "a size line without end is malformed at its limit" (fun () ->
                let endless = "1;" + String('a', 2 * ChunkedDecoder.MaxSizeLine)
                let isValid, _, _, _ = decode [ latin1 endless ] 64
                Expect.isFalse isValid "refused")

            for text, status in
                [
                    "HTTP/1.1 200 OK\n\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\nA: b\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\n: b\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\nA\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\nA: \000\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 000 X\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 20 OK\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 2000 OK\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1  200 OK\r\n\r\n", ParseStatus.Malformed
                    "HTTP/2.0 200 OK\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.2 200 OK\r\n\r\n", ParseStatus.Malformed
                    "ICY 200 OK\r\n\r\n", ParseStatus.Malformed
                    "SSH-2.0-OpenSSH", ParseStatus.Malformed
                    "\r\nHTTP/1.1 200 OK\r\n\r\n", ParseStatus.Malformed
                    "HTTP/1.1 200\r\n\r\n", ParseStatus.Complete
                    "HTTP/1.1 200 \r\nA:b\r\n\r\n", ParseStatus.Complete
                    "HTTP/1.1 200 OK\r\nA: b\r\n", ParseStatus.Incomplete
                ] do
                testCase $"the head %A{text} is {status}" (fun () ->
                    let result, _, _ = parse (ResponseHeadParser 4096) [ latin1 text ]
                    Expect.equal result status "verdict")

            Law.test
                "an encoded request reads as it was meant"
                300
                [ "fields", 50; "content", 50 ]
                (Arb.fromGen request)
                (fun seen case ->
                    let method, target, fields, length, hasContent = case
                    seen.When("fields", not fields.IsEmpty)
                    seen.When("content", hasContent)
                    let text = encode (build case)
                    let line = text.Substring(0, text.IndexOf "\r\n")
                    Expect.equal line $"{method} {target} HTTP/1.1" "request line"
                    let parser = FieldSectionParser 100_000
                    parser.Reset()
                    let section = latin1 (text.Substring(line.Length + 2))
                    let mutable consumed = 0
                    let status = parser.Parse(ReadOnlySpan section, &consumed)
                    Expect.equal (status, consumed) (ParseStatus.Complete, section.Length) "the section"

                    let framing =
                        match length, hasContent with
                        | None, true -> [ "Transfer-Encoding", "chunked" ]
                        | Some length, _ -> [ "Content-Length", string length ]
                        | None, false when method <> "GET" -> [ "Content-Length", "0" ]
                        | None, false -> []

                    Expect.equal (list parser.Fields) (("Host", "a.example:80") :: fields @ framing) "fields")

            for part, case in
                [
                    "a line end in a value", ("GET", "/", [ "a", "b\r\nc: d" ], None, false)
                    "a line end in a name", ("GET", "/", [ "a\r\nb", "c" ], None, false)
                    "a NUL", ("GET", "/", [ "a", "\000" ], None, false)
                    "a character beyond Latin-1", ("GET", "/", [ "a", "\u0141" ], None, false)
                    "a space in the target", ("GET", "/ HTTP/1.1", [], None, false)
                    "a line end in the target", ("GET", "/\r\n", [], None, false)
                    "a space in the method", ("GET /", "/", [], None, false)
                ] do
                testCase $"{part} is not sent" (fun () ->
                    Expect.throwsT<UpstreamException> (fun () -> encode (build case) |> ignore) "refused")

            for name, framed, expected in
                [
                    "length", framing "GET" 200 [ "Content-Length", "5" ], (ContentFraming.Length, true)
                    "length 0", framing "GET" 200 [ "content-length", "0" ], (ContentFraming.None, true)
                    "chunked", framing "GET" 200 [ "Transfer-Encoding", "Chunked" ], (ContentFraming.Chunked, true)
                    "neither", framing "GET" 200 [], (ContentFraming.UntilClose, false)
                    "HEAD", framing "HEAD" 200 [ "Content-Length", "5" ], (ContentFraming.None, true)
                    "304", framing "GET" 304 [ "Content-Length", "5" ], (ContentFraming.None, true)
                    "204", framing "GET" 204 [], (ContentFraming.None, true)
                    "204 with a length", framing "GET" 204 [ "Content-Length", "5" ], (ContentFraming.None, false)
                    "205 with a length", framing "GET" 205 [ "Content-Length", "5" ], (ContentFraming.None, false)
                    "205 chunked", framing "GET" 205 [ "Transfer-Encoding", "chunked" ], (ContentFraming.None, false)
                    "close",
                    framing "GET" 200 [ "Content-Length", "5"; "Connection", "x, Close" ],
                    (ContentFraming.Length, false)
                ] do
                testCase $"framing: {name}" (fun () ->
                    Expect.isNull framed.Error "valid"
                    Expect.equal (framed.Framing, framed.IsPersistent) expected "framing")

            for fields in
                [
                    [ "Content-Length", "5"; "Content-Length", "5" ]
                    [ "Content-Length", "5, 5" ]
                    [ "Content-Length", "+5" ]
                    [ "Content-Length", "" ]
                    [ "Content-Length", "99999999999999999999" ]
                    [ "Content-Length", "5"; "Transfer-Encoding", "chunked" ]
                    [ "Transfer-Encoding", "gzip, chunked" ]
                    [ "Transfer-Encoding", "identity" ]
                    [ "Transfer-Encoding", "chunked"; "Transfer-Encoding", "chunked" ]
                ] do
                testCase $"framing is invalid: %A{fields}" (fun () ->
                    Expect.isNotNull (framing "GET" 200 fields).Error "refused")
        ]
