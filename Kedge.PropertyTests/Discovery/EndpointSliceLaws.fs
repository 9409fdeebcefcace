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

        let! hasPod = Gen.elements [ true; true; false ]

        return
            {
                Address =
                    match addressType with
                    | IPv4 -> $"10.0.0.{last}"
                    | IPv6 -> $"fd00::{last}"
                    | OtherAddress -> $"host{last}.example"
                Ready = ready
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
                "the endpoints are sorted, ready, each once, and some slice has each"
                500
                [ "several endpoints", 50; "some cannot be used", 150 ]
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

                    Expect.equal
                        (selection.PortFound || selection.Endpoints.Length = 0)
                        true
                        "found when there are any"

                    for endpoint in selection.Endpoints do
                        let isReady (e: SliceEndpoint) =
                            e.Address = endpoint.Address
                            && e.Ready <> ValueSome false
                            && e.Terminating <> ValueSome true

                        let hasPort (p: SlicePort) = p.Number = ValueSome endpoint.Port || p.Number = ValueNone

                        Expect.exists
                            slices
                            (fun s ->
                                s.AddressType <> OtherAddress
                                && List.exists isReady s.Endpoints
                                && List.exists hasPort s.Ports)
                            $"{endpoint}")

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
                    Expect.equal actual.OtherPorts expected.OtherPorts "the same other ports"
                    Expect.equal actual.PortFound expected.PortFound "found or not")

            Law.test
                "a pod counts once for a port, though both families have it"
                500
                [ "a pod has both families", 25 ]
                (Arb.fromGen case)
                (fun seen (port, generated, ports, slices) ->
                    let usable =
                        slices
                        |> List.collect (fun slice -> slice.Endpoints |> List.map (fun e -> slice.AddressType, e))
                        |> List.filter (fun (_, e) -> e.IsUsable && e.Pod <> "")

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
