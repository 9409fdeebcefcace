/// Whom one set of demands admits and another does not: `kedge diff` calls that loosened or tightened.
module Kedge.PropertyTests.AdmissionLaws

open System.Net
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain

let private few items =
    Gen.frequency
        [
            2, Gen.constant []
            3,
            Gen.choose (1, 2)
            |> Gen.bind (fun count -> Gen.listOfLength count (Gen.elements items))
        ]

let private demands: Gen<Decoded.Authorization option> =
    gen {
        let! anyPerms = few [ "a"; "b"; "c" ]
        let! allPerms = few [ "a"; "b"; "c" ]
        let! sans = few [ "*.x.example"; "any.x.example"; "1.x.example"; "spiffe://a" ]

        let! networks =
            few [ "10.0.0.0/8"; "10.0.0.0/9"; "10.128.0.0/9"; "192.0.2.1"; "::/0" ]

        let! denied = few [ "10.0.0.0/8"; "10.0.0.0/16"; "10.0.0.1"; "0.0.0.0/0" ]
        let! kind = Gen.choose (0, 5)

        let full: Decoded.Authorization =
            {
                AnyPerms = anyPerms
                AllPerms = allPerms
                ClientCertSans = sans
                ClientNetworks = networks
                DeniedClientNetworks = denied
                TokenIssuers = []
                Claims = Map.empty
                Anonymous = false
            }

        return
            match kind with
            | 0 -> None
            | 1 ->
                Some
                    {
                        AnyPerms = []
                        AllPerms = []
                        ClientCertSans = []
                        ClientNetworks = []
                        DeniedClientNetworks = []
                        TokenIssuers = []
                        Claims = Map.empty
                        Anonymous = true
                    }
            | _ -> Some full
    }

/// Callers of every kind that the demands can tell apart.
let private universe: WitnessCaller list =
    [
        for meetsFlags in [ true; false ] do
            for permissions in
                [
                    []
                    [ "a" ]
                    [ "b" ]
                    [ "c" ]
                    [ "a"; "b" ]
                    [ "a"; "c" ]
                    [ "b"; "c" ]
                    [ "a"; "b"; "c" ]
                ] do
                for certificate in
                    [
                        None
                        Some(DnsSan "any.x.example")
                        Some(DnsSan "1.x.example")
                        Some(DnsSan "other.x.example")
                        Some(UriSan "spiffe://a")
                        Some(DnsSan "y.example")
                    ] do
                    for address in
                        [
                            "10.0.0.0"
                            "10.0.0.1"
                            "10.0.1.1"
                            "10.1.0.0"
                            "10.128.0.0"
                            "192.0.2.1"
                            "11.0.0.1"
                            "2001:db8::1"
                        ] do
                        if meetsFlags || permissions.IsEmpty then
                            {
                                MeetsFlags = meetsFlags
                                Permissions = permissions
                                Token = None
                                Claims = Map.empty
                                Certificate = certificate
                                Address = Some(IPAddress.Parse address)
                            }
    ]

[<Tests>]
let tests =
    testList
        "admission"
        [
            Law.test
                "a witness is admitted by the one and not by the other, and there is one whenever there can be"
                400
                [ "loosened", 100; "not loosened", 30; "neither", 10 ]
                (Arb.fromGen (Gen.zip demands demands))
                (fun seen (one, other) ->
                    let one, other = RouteDemands.Of one, RouteDemands.Of other
                    let isAdmitted demands caller = Admission.decide demands caller = "admitted"

                    let exists =
                        universe
                        |> List.exists (fun caller -> isAdmitted one caller && not (isAdmitted other caller))

                    let witness = Admission.onlyAdmittedBy one other
                    seen.When("loosened", exists)
                    seen.When("not loosened", not exists)
                    seen.When("neither", not exists && (Admission.onlyAdmittedBy other one).IsNone)
                    Expect.equal witness.IsSome exists "exact"

                    match witness with
                    | Some caller ->
                        Expect.isTrue (isAdmitted one caller) "admitted by the one"
                        Expect.isFalse (isAdmitted other caller) "not by the other"
                        Expect.isNotEmpty caller.Text "in words"
                    | None -> ())

            Law.test
                "demands admit nobody whom they do not admit"
                200
                [ "admits somebody", 50 ]
                (Arb.fromGen demands)
                (fun seen demands ->
                    let demands = RouteDemands.Of demands

                    seen.When(
                        "admits somebody",
                        universe
                        |> List.exists (fun caller -> Admission.decide demands caller = "admitted")
                    )

                    Expect.isNone (Admission.onlyAdmittedBy demands demands) "itself")
        ]
