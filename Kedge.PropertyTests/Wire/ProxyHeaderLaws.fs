/// The header of the PROXY protocol: any split of the bytes gives the same header, a written header is read as what it
/// says, and no sender makes kedge wait for more than the longest header.
module Kedge.PropertyTests.Wire.ProxyHeaderLaws

open System
open System.Buffers.Binary
open System.Net
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.PropertyTests
open Kedge.Wire.ProxyProtocol

let private latin1 (text: string) = Encoding.Latin1.GetBytes text
let private signature = latin1 "\r\n\r\n\000\r\nQUIT\n"
let private octet = Gen.choose (0, 255) |> Gen.map byte
let private port = Gen.choose (0, 65535)

let private address (octets: int) = Gen.arrayOfLength octets octet |> Gen.map IPAddress

let private byFamily = Gen.elements [ 4; 16 ]

/// A header of version 1 and what it says.
let private v1 =
    gen {
        let! octets = byFamily
        let! source = address octets
        let! destination = address octets
        let! sourcePort = port
        let! destinationPort = port
        let family = if octets = 4 then "TCP4" else "TCP6"

        return
            latin1 $"PROXY {family} {source} {destination} {sourcePort} {destinationPort}\r\n",
            ProxyHeaderStatus.V1,
            Some(IPEndPoint(source, sourcePort))
    }

let private v2Bytes (command: byte) (family: byte) (block: byte array) =
    let length = Array.zeroCreate<byte> 2
    BinaryPrimitives.WriteUInt16BigEndian(length.AsSpan(), uint16 block.Length)
    Array.concat [ signature; [| command; family |]; length; block ]

let private big (number: int) =
    let bytes = Array.zeroCreate<byte> 2
    BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(), uint16 number)
    bytes

let private extensions =
    gen {
        let! length = Gen.frequency [ 6, Gen.choose (0, 40); 1, Gen.choose (3900, 4096) ]
        return! Gen.arrayOfLength length octet
    }

/// A header of version 2 and what it says.
let private v2 =
    gen {
        let! octets = byFamily
        let! source = address octets
        let! destination = address octets
        let! sourcePort = port
        let! destinationPort = port
        let! extensions = extensions

        let block =
            Array.concat
                [
                    source.GetAddressBytes()
                    destination.GetAddressBytes()
                    big sourcePort
                    big destinationPort
                    extensions
                ]

        return
            v2Bytes 0x21uy (if octets = 4 then 0x11uy else 0x21uy) block,
            ProxyHeaderStatus.V2,
            Some(IPEndPoint(source, sourcePort))
    }

/// A header that keeps the addresses of the socket.
let private local =
    gen {
        let! family = octet
        let! block = extensions
        let! rest = Gen.elements [ ""; " "; " 1.2.3.4 whatever"; " \000\255" ]

        let! bytes =
            Gen.elements
                [
                    v2Bytes 0x20uy family block
                    v2Bytes 0x21uy 0uy block
                    latin1 $"PROXY UNKNOWN{rest}\r\n"
                ]

        return bytes, ProxyHeaderStatus.Local, None
    }

let private valid = Gen.oneof [ v1; v2; local ]

/// What a header may be spoilt with: of the length of version 1, too.
let private spoilt =
    gen {
        let! bytes, _, _ = valid
        let! at = Gen.choose (0, min 30 (bytes.Length - 1))

        let! replacement =
            Gen.oneof [ octet; Gen.elements [ byte '\r'; byte '\n'; byte ' '; byte '0'; byte ':' ] ]

        return Array.concat [ bytes[.. at - 1]; [| replacement |]; bytes[at + 1 ..] ]
    }

let private words =
    gen {
        let! count = Gen.choose (0, 12)

        let! words =
            Gen.listOfLength
                count
                (Gen.elements
                    [
                        "TCP4"
                        "TCP6"
                        "tcp4"
                        "UNKNOWN"
                        "1.2.3.4"
                        "01.2.3.4"
                        "1.2"
                        "::1"
                        "[::1]:80"
                        "fe80::1%1"
                        "443"
                        "0443"
                        "+1"
                        "65536"
                        ""
                        "\r"
                        "1111111111111111111111111111111111"
                    ])

        let! ending = Gen.elements [ "\r\n"; "\n"; "\r"; "" ]
        return latin1 ("PROXY " + String.Join(' ', words) + ending)
    }

let private beginnings =
    Gen.elements
        [
            [||]
            [| 0x16uy; 3uy; 1uy |]
            latin1 "GET / HTTP/1.1\r\n"
            latin1 "PRI * HTTP/2.0\r\n\r\n"
            latin1 "PROPFIND / HTTP/1.1\r\n"
            latin1 "\r\nGET / HTTP/1.1\r\n"
        ]

let private connection =
    gen {
        let! first =
            Gen.frequency
                [
                    4, valid |> Gen.map (fun (bytes, _, _) -> bytes)
                    3, spoilt
                    3, words
                    1, beginnings
                ]

        let! rest =
            Gen.choose (0, 200) |> Gen.bind (fun length -> Gen.arrayOfLength length octet)

        return Array.append first rest
    }

let private read (bytes: byte array) = ProxyHeader.Read(ReadOnlySpan bytes)

[<Tests>]
let tests =
    testList
        "PROXY headers"
        [
            Law.test
                "any split of the bytes gives the same header"
                1_000
                [ "V1", 20; "V2", 20; "Local", 20; "Malformed", 100; "Absent", 50 ]
                (Arb.fromGen connection)
                (fun seen bytes ->
                    let whole = read bytes
                    seen.Count(string whole.Status)

                    for length in 0 .. bytes.Length do
                        let early = read bytes[.. length - 1]

                        if early.Status <> ProxyHeaderStatus.Incomplete && early <> whole then
                            failtest $"{early} after {length} bytes, {whole} after all")

            Law.test
                "a written header is read as what it says, and ends where it ends"
                500
                [ "V1", 50; "V2", 50; "Local", 50; "IPv6", 50 ]
                (Arb.fromGen (Gen.zip valid (Gen.arrayOf octet)))
                (fun seen ((bytes, status, source), rest) ->
                    let header = read (Array.append bytes rest)
                    seen.Count(string header.Status)
                    seen.When("IPv6", source |> Option.exists (fun s -> s.Address.GetAddressBytes().Length = 16))
                    Expect.equal header.Status status "status"
                    Expect.equal (Option.ofObj header.Source) source "source"
                    Expect.equal header.Length bytes.Length "length"

                    Expect.equal
                        (read bytes[.. bytes.Length - 2]).Status
                        ProxyHeaderStatus.Incomplete
                        "not before its last byte")

            Law.test
                "what starts a header is what is not absent"
                500
                [ "starts", 100; "does not", 50; "open", 20 ]
                (Arb.fromGen (
                    Gen.zip connection (Gen.choose (0, 20))
                    |> Gen.map (fun (bytes, length) -> Array.truncate length bytes)
                ))
                (fun seen bytes ->
                    match (ProxyHeader.StartsOne(ReadOnlySpan bytes)).ToString() with
                    | "True" ->
                        seen.Count "starts"
                        Expect.notEqual (read bytes).Status ProxyHeaderStatus.Absent "present"
                    | "False" ->
                        seen.Count "does not"
                        Expect.equal (read bytes).Status ProxyHeaderStatus.Absent "absent"
                    | _ ->
                        seen.Count "open"
                        Expect.equal (read bytes).Status ProxyHeaderStatus.Incomplete "open")

            Law.test
                "the longest header decides, whatever it says"
                300
                [ "v1", 50; "v2", 50 ]
                (Arb.fromGen (
                    gen {
                        let! command = Gen.elements [ 0x20uy; 0x21uy; 0x22uy; 0x11uy ]
                        let! family = Gen.elements [ 0uy; 0x11uy; 0x12uy; 0x21uy; 0x22uy; 0x31uy ]
                        let! length = Gen.choose (0, 65535)
                        let! letter = Gen.elements [ 'x'; ' '; '1'; '\r' ]
                        let text = "PROXY UNKNOWN" + String(letter, 5000)

                        return!
                            Gen.elements
                                [
                                    Array.concat [ signature; [| command; family |]; big length; Array.zeroCreate 5000 ]
                                    latin1 text
                                ]
                    }
                ))
                (fun seen bytes ->
                    let isV1 = bytes[0] = byte 'P'
                    seen.Count(if isV1 then "v1" else "v2")

                    let longest =
                        if isV1 then
                            ProxyHeader.MaxV1Length
                        else
                            ProxyHeader.MaxLength

                    Expect.notEqual (read bytes[.. longest - 1]).Status ProxyHeaderStatus.Incomplete "decided")

            testCase "what is not a header of a TCP connection over IP is malformed" (fun () ->
                for text in
                    [
                        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n"
                        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n"
                        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n"
                        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"
                        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"
                        "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n"
                        "PROXY TCP4 ::1 ::1 1 2\r\n"
                        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n"
                        "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n"
                        "PROXY TCP4 1.2 5.6.7.8 1 2\r\n"
                        "PROXY TCP6 fe80::1%1 ::1 1 2\r\n"
                        "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n"
                        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n"
                        "PROXY \r\n"
                    ] do
                    Expect.equal (read (latin1 text)).Status ProxyHeaderStatus.Malformed text

                for command, family, length in
                    [
                        0x21uy, 0x12uy, 12
                        0x21uy, 0x22uy, 36
                        0x21uy, 0x31uy, 216
                        0x21uy, 0x11uy, 11
                        0x21uy, 0x21uy, 12
                        0x21uy, 0x11uy, 12 + 4097
                        0x22uy, 0x11uy, 12
                        0x11uy, 0x11uy, 12
                    ] do
                    let bytes = v2Bytes command family (Array.zeroCreate length)
                    Expect.equal (read bytes).Status ProxyHeaderStatus.Malformed $"{command} {family} {length}")
        ]
