module Kedge.Client.Tests.Mapping.NoProxyLaws

open System.Net
open Expecto
open FsCheck.FSharp
open Kedge.Client.Domain
open Kedge.Client.Tests.Mapping.Files
open Kedge.PropertyTests

/// An entry of the list, as its author means it.
type private Entry =
    | Everything
    | Name of labels: string list * onlyUnder: bool * port: int
    | Network of bytes: byte list * bits: int

let private labels = Gen.elements [ "a"; "b"; "shop"; "example"; "com" ]

let private name =
    Gen.choose (1, 3) |> Gen.bind (fun count -> Gen.listOfLength count labels)

let private octet = Gen.elements [ 10uy; 127uy; 128uy; 192uy; 255uy ]

let private port = Gen.frequency [ 3, Gen.constant 0; 1, Gen.elements [ 80; 443 ] ]

let private entry =
    Gen.frequency
        [
            1, Gen.constant Everything
            12,
            Gen.map3 (fun name onlyUnder port -> Name(name, onlyUnder, port)) name (Gen.elements [ true; false ]) port
            4,
            Gen.map2
                (fun bytes bits ->
                    // A network has no bit behind its prefix.
                    let kept (index: int) (value: byte) =
                        let shown = max 0 (min 8 (bits - 8 * index))
                        value &&& byte (0xFF <<< (8 - shown))

                    Network(List.mapi kept bytes, bits))
                (Gen.listOfLength 4 octet)
                (Gen.elements [ 8; 9; 16; 24; 31; 32 ])
        ]

let private textOf (entry: Entry) =
    match entry with
    | Everything -> "*"
    | Name(labels, onlyUnder, port) ->
        let start = if onlyUnder then "." else ""
        let last = if port = 0 then "" else $":{port}"
        start + String.concat "." labels + last
    | Network(bytes, 32) -> String.concat "." (List.map string bytes)
    | Network(bytes, bits) -> String.concat "." (List.map string bytes) + $"/{bits}"

/// The bits of an address, the highest first.
let private bitsOf (bytes: byte list) =
    [
        for value in bytes do
            for shift in 7..-1..0 do
                (value >>> shift) &&& 1uy
    ]

let private covers (host: string) (port: int) (entry: Entry) =
    match entry, IPAddress.TryParse host with
    | Everything, _ -> true
    | Network(bytes, bits), (true, NonNull address) ->
        List.truncate bits (bitsOf (List.ofArray (address.GetAddressBytes()))) = List.truncate bits (bitsOf bytes)
    | Network _, _ -> false
    | Name _, (true, _) -> false
    | Name(labels, onlyUnder, only), _ ->
        let given = List.ofArray (host.Split '.')
        let more = given.Length - labels.Length

        (only = 0 || only = port)
        && (more > 0 || (more = 0 && not onlyUnder))
        && List.skip more given = labels

let private host =
    Gen.frequency
        [
            4, Gen.map (String.concat ".") name
            1, Gen.map (fun (name: string list) -> "x" + String.concat "." name) name
            2, Gen.map (List.map string >> String.concat ".") (Gen.listOfLength 4 octet)
            1, Gen.elements [ "localhost"; "a.localhost"; "127.0.0.1" ]
        ]

[<Tests>]
let laws =
    testList
        "laws of exemptions"
        [
            Law.test
                "a host is exempt exactly when it is this machine, or an entry is for it"
                3000
                [ "exempt", 300; "not exempt", 300; "by a network", 50; "this machine", 100 ]
                (Arb.fromGen (Gen.zip3 (Gen.listOf entry) host (Gen.elements [ 80; 443; 8080 ])))
                (fun seen (entries, host, port) ->
                    let list = entries |> List.map textOf |> String.concat ", "

                    let isHere =
                        host = "localhost" || host.EndsWith ".localhost" || host.StartsWith "127."

                    let covering = entries |> List.filter (covers host port)

                    let expected = isHere || not covering.IsEmpty
                    seen.Count(if expected then "exempt" else "not exempt")
                    seen.When("this machine", isHere)

                    seen.When(
                        "by a network",
                        covering
                        |> List.exists (fun entry ->
                            match entry with
                            | Network _ -> true
                            | _ -> false)
                    )

                    Expect.equal
                        ((NoProxy.Parse list).Exempts(target $"{host}:{port}"))
                        expected
                        $"{host}:{port} in {list}")
        ]
