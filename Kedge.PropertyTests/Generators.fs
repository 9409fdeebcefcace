namespace Kedge.PropertyTests

open System
open FsCheck
open FsCheck.FSharp

/// Texts of every kind, and how they shrink.
module Generators =

    let often few usual = Gen.frequency [ (1, few); (4, usual) ]

    // With a `k` and an `s`, which have further cases outside of ASCII, and one that is a suffix of another.
    let hosts =
        [
            "a.example"
            "b.a.example"
            "kiosk.example"
            "a-rather-long.name.with.many.labels.example"
            "::1"
        ]

    /// Upper and lower case at random.
    let anyCase (text: string) =
        Gen.choose (0, Int32.MaxValue)
        |> Gen.map (fun bits ->
            text
            |> String.mapi (fun at c ->
                if bits >>> (at % 31) &&& 1 = 1 then
                    Char.ToUpperInvariant c
                else
                    c))

    /// Any characters at all, control characters and lone surrogates among them.
    let anyText =
        Gen.frequency
            [
                (3, Gen.choose (32, 126))
                (1, Gen.choose (0, 31))
                (1, Gen.choose (127, 0xFFFF))
            ]
        |> Gen.map char
        |> Gen.listOf
        |> Gen.map (List.toArray >> String)

    /// Spellings of a host that is in the table, and what only looks like one.
    let requestHost (host: string) =
        Gen.frequency
            [
                (6, Gen.constant host)
                (3, anyCase host)
                (2, anyCase host |> Gen.map (fun host -> host + "."))
                (1, Gen.constant "")
                (1,
                 Gen.elements
                     [
                         ""
                         "."
                         host + ".."
                         "." + host
                         "x" + host
                         host + "x"
                         host.Substring 1
                         host.Substring(0, host.Length - 1)
                         host + "\000"
                         host.Replace('k', '\u212A')
                         host.Replace('s', '\u017F')
                         host.Replace('a', '\u00E4')
                         host.Replace('.', '\u3002')
                         // Differ in the bit by which cases differ, without being letters.
                         host.Replace('.', '\014')
                         host.Replace('-', '\r')
                         host + ":443"
                         "[" + host + "]"
                         String('a', 5000)
                     ])
                (1, anyText)
            ]

    let without items = seq { for index in 0 .. List.length items - 1 -> List.removeAt index items }

    let withoutMany items =
        seq {
            let half = List.length items / 2

            if half > 1 then
                yield List.take half items
                yield List.skip half items

            yield! without items
        }

    /// Texts put together from one of the starts and some of the pieces, shrunk by leaving pieces out, then characters.
    let textAfter (starts: string list) (pieces: string list) =
        let start = Gen.elements starts
        let piece = Gen.elements pieces

        let texts =
            Gen.choose (0, 6)
            |> Gen.bind (fun count -> Gen.map2 (fun start rest -> start :: rest) start (Gen.listOfLength count piece))

        Arb.fromGenShrink (texts, withoutMany)
        |> Arb.convert (String.concat "") (fun text -> [ for c in text -> string c ])

    /// Texts put together from the given pieces.
    let textOf (pieces: string list) = textAfter [ "" ] pieces
