/// Which endpoints of a service's slices can be used.
module Kedge.PropertyTests.EndpointSliceLaws

open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Domain.Discovery

let private slicePort: Gen<SlicePort> =
    gen {
        let! name = Gen.elements [ "http-a"; "web"; "" ]

        let! number =
            Gen.elements [ ValueSome 8080us; ValueSome 9090us; ValueSome 9090us; ValueNone ]

        return { Name = name; Number = number }
    }

let private endpoint addressType : Gen<SliceEndpoint> =
    gen {
        let! last = Gen.choose (1, 4)

        let! ready =
            Gen.elements [ ValueNone; ValueSome true; ValueSome true; ValueSome false ]

        let! terminating =
            Gen.elements [ ValueNone; ValueSome false; ValueSome false; ValueSome true ]

        let! serving =
            Gen.elements [ ValueNone; ValueSome true; ValueSome true; ValueSome false ]

        let! hasPod = Gen.elements [ true; true; false ]

        return
            {
                Address =
                    match addressType with
                    | IPv4 -> $"10.0.0.{last}"
                    | IPv6 -> $"fd00::{last}"
                    | OtherAddress -> $"host{last}.example"
                Ready = ready
                Serving = serving
                Terminating = terminating
                Pod = if hasPod then $"pod{last}" else ""
            }
    }

let private slice: Gen<EndpointSlice> =
    gen {
        let! addressType =
            Gen.frequency [ 6, Gen.constant IPv4; 3, Gen.constant IPv6; 1, Gen.constant OtherAddress ]

        let! ports = Gen.elements [ 0; 1; 1; 1; 2 ]
        let! ports = Gen.listOfLength ports slicePort
        let! endpoints = Gen.choose (1, 4)
        let! endpoints = Gen.listOfLength endpoints (endpoint addressType)

        return
            {
                Namespace = "n"
                Name = "s-1"
                Service = "s"
                AddressType = addressType
                Ports = ports
                Endpoints = endpoints
                ResourceVersion = "1"
            }
    }

let private ports: Gen<ServicePort list> =
    let port name number target : ServicePort =
        {
            Name = name
            Port = number
            TargetPort = target
            Protocol = "TCP"
        }

    Gen.elements
        [
            []
            [ port "http-a" 80 (ValueSome(TargetName "web")) ]
            [
                port "http-a" 80 (ValueSome(TargetName "web"))
                port "web" 81 (ValueSome(TargetName "admin"))
            ]
            [ port "" 80 ValueNone ]
        ]

let private case =
    gen {
        let! port =
            Gen.elements
                [
                    OnlyPort
                    PortNumber 8080us
                    PortNumber 80us
                    PortName "web"
                    PortName "http-a"
                ]

        let! generated = Gen.elements [ true; false ]
        let! ports = ports
        let! count = Gen.choose (0, 5)
        let! slices = Gen.listOfLength count slice
        return port, generated, ports, slices
    }

[<Tests>]
let tests =
    testList
        "endpoint slices"
        [
            Law.test
                "the endpoints are sorted, ready, each once, and some slice has each; the last resort comes last"
                1000
                [ "several endpoints", 50; "some cannot be used", 150; "the last resort", 20 ]
                (Arb.fromGen case)
                (fun seen (port, generated, ports, slices) ->
                    let selection = EndpointSlices.select port generated ports slices
                    seen.When("several endpoints", selection.Endpoints.Length > 1)

                    seen.When(
                        "some cannot be used",
                        slices
                        |> List.exists (fun s -> s.Endpoints |> List.exists (fun e -> not e.IsUsable))
                    )

                    Expect.equal
                        (selection.Endpoints |> Array.distinct |> Array.sort)
                        selection.Endpoints
                        "sorted, once"

                    if selection.Fault.IsSome then
                        Expect.isEmpty selection.Endpoints "no endpoint of a port that is not found"

                    seen.When("the last resort", selection.AreTerminating)

                    for endpoint in selection.Endpoints do
                        let isReady (e: SliceEndpoint) =
                            e.Address = endpoint.Address
                            && (if selection.AreTerminating then
                                    e.Serving <> ValueSome false && e.Terminating = ValueSome true
                                else
                                    e.Ready <> ValueSome false && e.Terminating <> ValueSome true)

                        let hasPort (p: SlicePort) = p.Number = ValueSome endpoint.Port || p.Number = ValueNone

                        Expect.exists
                            slices
                            (fun s ->
                                s.AddressType <> OtherAddress
                                && List.exists isReady s.Endpoints
                                && List.exists hasPort s.Ports)
                            $"{endpoint}")

            Law.test
                "a terminating endpoint is used exactly when no other one is, and it still serves"
                1000
                [ "the last resort", 20; "it does not serve", 20 ]
                (Arb.fromGen slice)
                (fun seen slice ->
                    // One port, so that every endpoint of the slice is one of the port.
                    let slice =
                        { slice with
                            AddressType = IPv4
                            Ports =
                                [
                                    {
                                        Name = "web"
                                        Number = ValueSome 8080us
                                    }
                                ]
                        }

                    let selection = EndpointSlices.select (PortName "web") false [] [ slice ]

                    let ending =
                        slice.Endpoints |> List.filter (fun e -> e.Terminating = ValueSome true)

                    let ready =
                        slice.Endpoints
                        |> List.exists (fun e -> e.Ready <> ValueSome false && e.Terminating <> ValueSome true)

                    let serving = ending |> List.exists (fun e -> e.Serving <> ValueSome false)
                    seen.When("the last resort", not ready && serving)
                    seen.When("it does not serve", not ready && not ending.IsEmpty && not serving)
                    Expect.equal selection.AreTerminating (not ready && serving) "whether they are the last resort"
                    Expect.equal (selection.Endpoints.Length > 0) (ready || serving) "whether there are any")

            test "why there is no endpoint of a port" {
                let slice addressType ports addresses =
                    {
                        Namespace = "n"
                        Name = "s-1"
                        Service = "s"
                        AddressType = addressType
                        Ports = ports
                        Endpoints =
                            [
                                for address in addresses ->
                                    {
                                        Address = address
                                        Ready = ValueSome true
                                        Serving = ValueNone
                                        Terminating = ValueNone
                                        Pod = ""
                                    }
                            ]
                        ResourceVersion = "1"
                    }

                let other =
                    [
                        {
                            Name = "other"
                            Number = ValueSome 9090us
                        }
                    ]

                for slices, expected in
                    [
                        [], ValueSome NoSlices
                        [ slice OtherAddress other [ "db.example" ] ], ValueSome OnlyHostNames
                        // What the cluster makes of a service without pods, and of pods that lack the target port.
                        [ slice IPv4 [] [] ], ValueNone
                        [ slice IPv4 [] [ "10.0.0.1" ] ], ValueSome(PortNotFound [||])
                        [ slice IPv4 other [ "10.0.0.1" ] ], ValueSome(PortNotFound [| "other:9090" |])
                        [ slice IPv4 [ { other.Head with Name = "web" } ] [] ], ValueNone
                    ] do
                    let selection = EndpointSlices.select (PortName "web") false [] slices
                    Expect.equal selection.Fault expected $"%A{slices}"
            }

            test "the name of a target port never means another port of a known service" {
                let port name number : SlicePort =
                    {
                        Name = name
                        Number = ValueSome number
                    }

                let slice =
                    {
                        Namespace = "n"
                        Name = "s-1"
                        Service = "s"
                        AddressType = IPv4
                        Ports = [ port "http" 8080us; port "web" 9090us ]
                        Endpoints =
                            [
                                {
                                    Address = "10.0.0.1"
                                    Ready = ValueSome true
                                    Serving = ValueNone
                                    Terminating = ValueNone
                                    Pod = ""
                                }
                            ]
                        ResourceVersion = "1"
                    }

                let service (target: TargetPort) : ServicePort list =
                    [
                        {
                            Name = "http"
                            Port = 80
                            TargetPort = ValueSome target
                            Protocol = "TCP"
                        }
                    ]

                let chosen ports =
                    (EndpointSlices.select (PortName "web") true ports [ slice ]).Endpoints
                    |> Array.map string

                Expect.equal (chosen (service (TargetName "web"))) [| "10.0.0.1:8080" |] "the target port"
                Expect.equal (chosen (service (TargetNumber 8080))) [||] "once the target has a number"
            }

            Law.test
                "the order of the slices, and of their endpoints, makes no difference"
                500
                [ "several endpoints", 50 ]
                (Arb.fromGen (
                    gen {
                        let! port, generated, ports, slices = case
                        let! shuffled = Gen.shuffle slices
                        let! again = Gen.subListOf slices

                        let turned =
                            List.ofArray shuffled @ again
                            |> List.map (fun slice ->
                                { slice with
                                    Endpoints = List.rev slice.Endpoints
                                })

                        return port, generated, ports, slices, turned
                    }
                ))
                (fun seen (port, generated, ports, slices, turned) ->
                    let expected = EndpointSlices.select port generated ports slices
                    seen.When("several endpoints", expected.Endpoints.Length > 1)
                    let actual = EndpointSlices.select port generated ports turned
                    Expect.equal actual.Endpoints expected.Endpoints "the same endpoints"
                    Expect.equal actual expected "the same in all else")

            Law.test
                "a pod counts once for a port, though both families have it"
                500
                [ "a pod has both families", 25 ]
                (Arb.fromGen case)
                (fun seen (port, generated, ports, slices) ->
                    let usable =
                        slices
                        |> List.collect (fun slice -> slice.Endpoints |> List.map (fun e -> slice.AddressType, e))
                        |> List.filter (fun (_, e) -> (e.IsUsable || e.IsLastResort) && e.Pod <> "")

                    // In these cases a pod has one address of each family, so its addresses identify it.
                    let pods = usable |> List.groupBy (fun (_, e) -> e.Pod)

                    let anonymous =
                        slices
                        |> List.collect (fun slice -> slice.Endpoints)
                        |> List.filter (fun e -> e.Pod = "")
                        |> List.map (fun e -> e.Address)
                        |> Set.ofList

                    let selection = EndpointSlices.select port generated ports slices

                    for _, addresses in pods do
                        let families = addresses |> List.map fst |> List.distinct

                        let of' family =
                            addresses
                            |> List.filter (fun (f, _) -> f = family)
                            |> List.map (fun (_, e) -> e.Address)
                            |> List.filter (fun a -> not (anonymous.Contains a))

                        seen.When(
                            "a pod has both families",
                            List.contains IPv4 families && List.contains IPv6 families
                        )

                        let portsOf family =
                            selection.Endpoints
                            |> Seq.filter (fun e -> List.contains e.Address (of' family))
                            |> Seq.map (fun e -> e.Port)
                            |> Set.ofSeq

                        Expect.isEmpty (Set.intersect (portsOf IPv4) (portsOf IPv6)) "once for each port")
        ]
