module Kedge.PropertyTests.AccessLaws

open System
open System.Collections.Generic
open System.Net
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain

/// Few names, so that they meet.
let private perm = Gen.elements [ "read"; "write"; "admin" ]

let private perms =
    Gen.choose (0, 2) |> Gen.bind (fun count -> Gen.listOfLength count perm)

let private sanNames = [ "a.example"; "b.example"; "c.other" ]

let private sans =
    Gen.choose (0, 2)
    |> Gen.bind (fun count -> Gen.listOfLength count (Gen.elements ("*.example" :: sanNames)))

let private networkTexts =
    [
        "10.0.0.0/8"
        "10.1.0.0/16"
        "10.1.2.3"
        "0.0.0.0/0"
        "2001:db8::/32"
        "::/0"
    ]

let private networks =
    Gen.frequency
        [
            3, Gen.constant []
            1,
            Gen.choose (1, 2)
            |> Gen.bind (fun count -> Gen.listOfLength count (Gen.elements networkTexts))
        ]

let private addresses =
    [
        "10.1.2.3"
        "10.1.9.9"
        "10.9.9.9"
        "192.0.2.1"
        "::ffff:10.1.2.3"
        "2001:db8::1"
        "::1"
    ]
    |> List.map IPAddress.Parse

/// Issuers that a rule names, mostly none.
let private issuerNames =
    Gen.frequency
        [
            5, Gen.constant []
            1, Gen.elements [ [ "default" ]; [ "staff" ]; [ "staff"; "default" ]; [ "staff"; "partners" ] ]
        ]

let private claims: Gen<Map<string, string list>> =
    Gen.frequency
        [
            5, Gen.constant Map.empty
            1, Gen.elements [ Map [ "tenant", [ "a" ] ]; Map [ "tenant", [ "b"; "a" ]; "team", [ "x" ] ] ]
        ]

/// A valid token of the issuer that the flags set up.
let private tokenWith (granted: string list) = ValidToken(VerifiedToken(Permissions.OfList granted, "ann"))

/// The server's demands as they are in the flags.
type private Server =
    {
        Token: bool
        Required: string
        Whitelist: string list
    }

let private demandsOf server =
    if not server.Token then
        ServerDemands.None
    elif server.Required = "" && server.Whitelist = [] then
        ServerDemands.Token
    else
        ServerDemands.Permissions(server.Required, server.Whitelist)

let private server =
    Gen.frequency
        [
            1,
            Gen.constant
                {
                    Token = false
                    Required = ""
                    Whitelist = []
                }
            4,
            gen {
                let! required = Gen.frequency [ 1, Gen.constant ""; 1, perm ]
                let! whitelist = perms

                return
                    {
                        Token = true
                        Required = required
                        Whitelist = whitelist
                    }
            }
        ]

let private rule: Gen<Decoded.Authorization> =
    gen {
        let! anyPerms = perms
        let! allPerms = perms
        let! sans = sans
        let! allowed = networks
        let! denied = networks
        let! issuers = issuerNames
        let! claims = claims
        let! anonymous = Gen.frequency [ 3, Gen.constant false; 1, Gen.constant true ]

        return
            {
                AnyPerms = anyPerms
                AllPerms = allPerms
                ClientCertSans = sans
                ClientNetworks = allowed
                DeniedClientNetworks = denied
                TokenIssuers = issuers
                Claims = claims
                Anonymous = anonymous
            }
    }

let private bare: Decoded.Authorization =
    {
        AnyPerms = []
        AllPerms = []
        ClientCertSans = []
        ClientNetworks = []
        DeniedClientNetworks = []
        TokenIssuers = []
        Claims = Map.empty
        Anonymous = false
    }

let private route =
    Gen.frequency
        [
            1, Gen.constant None
            1, Gen.constant (Some { bare with Anonymous = true })
            6, Gen.map Some rule
        ]

let private token =
    Gen.frequency
        [
            1, Gen.constant NoToken
            1, Gen.constant (BadToken "it has expired")
            1, Gen.constant (UnverifiableToken "no keys yet")
            1, Gen.constant StaticToken
            8,
            gen {
                let! granted = perms

                let! issuer =
                    Gen.frequency [ 3, Gen.constant "default"; 1, Gen.elements [ "staff"; "others" ] ]

                let! claims =
                    Gen.elements
                        [
                            []
                            [ "tenant", [| "a" |]; "team", [| "x" |] ]
                            [ "tenant", [| "c"; "b" |] ]
                            [ "team", [| "x" |] ]
                        ]

                return
                    ValidToken(
                        VerifiedToken.Of(
                            issuer,
                            Permissions.OfList("read" :: granted),
                            "ann",
                            claims |> Seq.map KeyValuePair.Create
                        )
                    )
            }
        ]

let private caller =
    gen {
        let! token = token
        let! has = Gen.elements [ true; true; false ]
        let! names = Gen.listOfLength 2 (Gen.elements sanNames)
        let! address = Gen.elements addresses

        if has then
            return Caller(token, names |> List.map DnsSan |> List.toArray, address)
        else
            return Caller(token, null, address)
    }

let private case = Gen.zip3 server route caller

let private decide server route caller = Access.Decide(demandsOf server, RouteDemands.Of route, caller)

/// Whether tokens of this issuer count.
let private accepts (rule: Decoded.Authorization) issuer =
    if rule.TokenIssuers.IsEmpty then
        issuer = "default"
    else
        List.contains issuer rule.TokenIssuers

/// The rule of the documentation, in sets.
let private mayPass server (route: Decoded.Authorization option) (caller: Caller) =
    let rule = defaultArg route bare

    let demands =
        rule.AnyPerms.Length
        + rule.AllPerms.Length
        + rule.ClientCertSans.Length
        + rule.ClientNetworks.Length
        + rule.DeniedClientNetworks.Length
        + rule.TokenIssuers.Length
        + rule.Claims.Count
            >
            0

    let isIn (networks: string list) =
        match caller.Address with
        | null -> false
        | address ->
            let address =
                if address.IsIPv4MappedToIPv6 then
                    address.MapToIPv4()
                else
                    address

            networks
            |> List.exists (fun text ->
                let network =
                    if text.Contains '/' then
                        IPNetwork.Parse text
                    else
                        IPNetwork.Parse(text + "/32")

                network.BaseAddress.AddressFamily = address.AddressFamily
                && network.Contains address)

    let isAtPlace =
        (rule.ClientNetworks = [] || isIn rule.ClientNetworks)
        && not (isIn rule.DeniedClientNetworks)

    let granted =
        match caller.Token with
        | ValidToken token when accepts rule token.Issuer -> Some(Set.ofSeq token.Permissions.Names)
        | StaticToken when accepts rule "default" -> Some Set.empty
        | _ -> None

    let all wanted =
        wanted |> List.forall (fun perm -> granted |> Option.exists (Set.contains perm))

    let any wanted = wanted = [] || wanted |> List.exists (fun perm -> all [ perm ])

    let hasClaims =
        rule.Claims
        |> Map.forall (fun claim values ->
            match caller.Token with
            | ValidToken token -> token.Claim claim |> Array.exists (fun value -> List.contains value values)
            | _ -> false)

    let names =
        match caller.Certificate with
        | null -> []
        | names -> List.ofArray names

    (rule.Anonymous && not demands)
    || (isAtPlace
        && (not server.Token || granted.IsSome)
        && (rule.TokenIssuers.IsEmpty && rule.Claims.IsEmpty || granted.IsSome)
        && hasClaims
        && (server.Required = "" || all [ server.Required ])
        && any server.Whitelist
        && all rule.AllPerms
        && any rule.AnyPerms
        && (rule.ClientCertSans = []
            || List.allPairs rule.ClientCertSans names
               |> List.exists (fun (pattern, name) -> SanMatcher.Parse(pattern).Holds name)))

/// Ways to demand more than before. A further alternative in a list that has some is not one.
let private harder =
    let set isEmpty change value = if isEmpty value then change value else value

    [
        (fun perm (s, r: Decoded.Authorization) -> s, { r with AllPerms = perm :: r.AllPerms })
        (fun perm (s, r) -> s, set (fun r -> r.AnyPerms = []) (fun r -> { r with AnyPerms = [ perm; "x" ] }) r)
        (fun _ (s, r) ->
            s,
            set
                (fun r -> r.ClientCertSans = [])
                (fun r ->
                    { r with
                        ClientCertSans = [ "*.example" ]
                    })
                r)
        (fun _ (s, r) -> s, { r with Anonymous = false })
        (fun _ (s, r) ->
            s,
            set
                (fun (r: Decoded.Authorization) -> not (r.Claims.ContainsKey "tenant"))
                (fun (r: Decoded.Authorization) ->
                    { r with
                        Claims = r.Claims.Add("tenant", [ "a"; "c" ])
                    })
                r)
        (fun _ (s, r) ->
            s,
            { r with
                DeniedClientNetworks = "10.1.0.0/16" :: r.DeniedClientNetworks
            })
        (fun _ (s, r) ->
            s,
            set
                (fun r -> r.ClientNetworks = [])
                (fun r ->
                    { r with
                        ClientNetworks = [ "10.0.0.0/8" ]
                    })
                r)
        (fun _ (s: Server, r) -> { s with Token = true }, r)
        (fun perm (s, r) ->
            set (fun s -> s.Required = "") (fun (s: Server) -> { s with Token = true; Required = perm }) s, r)
        (fun perm (s, r) ->
            set
                (fun s -> s.Whitelist = [])
                (fun (s: Server) ->
                    { s with
                        Token = true
                        Whitelist = [ perm ]
                    })
                s,
            r)
    ]

[<Tests>]
let tests =
    testList
        "access"
        [
            Law.test
                "the decision is the documented rule"
                500
                [
                    "allowed", 50
                    "not allowed", 150
                    "allowed with demands", 15
                    "anonymous", 25
                ]
                (Arb.fromGen case)
                (fun seen (server, route, caller) ->
                    let expected = mayPass server route caller
                    seen.When("allowed", expected)
                    seen.When("not allowed", not expected)
                    seen.When("anonymous", (RouteDemands.Of route).Anonymous)

                    seen.When(
                        "allowed with demands",
                        expected
                        && server.Token
                        && route |> Option.exists (fun r -> r <> bare && not r.Anonymous)
                    )

                    Expect.equal (decide server route caller).IsAllowed expected "allowed")

            Law.test
                "a demand that is added never lets a caller in"
                500
                [ "was refused", 100; "was allowed", 25; "the demand turns a caller away", 15 ]
                (Arb.fromGen (Gen.zip3 case (Gen.elements harder) perm))
                (fun seen ((server, route, caller), add, perm) ->
                    let rule = defaultArg route bare
                    let before = (decide server (Some rule) caller).IsAllowed
                    let server, rule = add perm (server, rule)
                    let after = (decide server (Some rule) caller).IsAllowed
                    seen.When("was refused", not before)
                    seen.When("was allowed", before)
                    seen.When("the demand turns a caller away", before && not after)
                    Expect.isTrue (before || not after) "not widened")

            Law.test
                "more permissions never turn a caller away, and a token is needed wherever permissions are"
                500
                [ "allowed only with more", 15 ]
                (Arb.fromGen (Gen.zip3 server route perms))
                (fun seen (server, route, granted) ->
                    let allowed token =
                        (decide server route (Caller(token, [| DnsSan "a.example" |], addresses.Head))).IsAllowed

                    let few = allowed (tokenWith granted)

                    let more = allowed (tokenWith [ "read"; "write"; "admin" ])

                    seen.When("allowed only with more", more && not few)
                    Expect.isTrue (more || not few) "monotonic"
                    Expect.isTrue (few || not (allowed StaticToken)) "the static token is a token without permissions"
                    Expect.isTrue (allowed StaticToken || not (allowed NoToken)) "none is less")

            Law.test
                "where tokens do not matter, no token changes the decision; where they do, a caller without one is refused"
                500
                [ "does not matter", 50; "matters", 150 ]
                (Arb.fromGen (Gen.zip case token))
                (fun seen ((server, route, caller), other) ->
                    let demands = demandsOf server, RouteDemands.Of route
                    let matters = Access.TokenMatters demands
                    seen.When("matters", matters)
                    seen.When("does not matter", not matters)

                    if matters then
                        Expect.isFalse
                            (decide server route (Caller(NoToken, caller.Certificate, caller.Address))).IsAllowed
                            "refused"

                        Expect.isFalse (Access.IsOpen(fst demands, snd demands)) "not open"
                    else
                        Expect.equal
                            (decide server route (Caller(other, caller.Certificate, caller.Address)))
                            (decide server route caller)
                            "the same")

            Law.test
                "where certificates do not matter, none changes the decision; where they do, a caller without one is refused"
                500
                [ "does not matter", 100; "matters", 100 ]
                (Arb.fromGen case)
                (fun seen (server, route, caller) ->
                    let matters = Access.CertificateMatters(RouteDemands.Of route)
                    seen.When("matters", matters)
                    seen.When("does not matter", not matters)
                    let without = decide server route (Caller(caller.Token, null, caller.Address))

                    if matters then
                        Expect.isFalse without.IsAllowed "refused"
                    else
                        Expect.equal without (decide server route caller) "the same")

            Law.test
                "each refusal is of its kind"
                500
                [ "401", 25; "another issuer", 15; "403", 100; "503", 15 ]
                (Arb.fromGen case)
                (fun seen (server, route, caller) ->
                    let matters = Access.TokenMatters(demandsOf server, RouteDemands.Of route)
                    let accepts = accepts (defaultArg route bare)

                    match decide server route caller, caller.Token with
                    | Allowed, _ -> ()
                    | Unauthenticated _, ValidToken token ->
                        seen.When("another issuer", true)
                        Expect.isFalse (accepts token.Issuer) "only when its issuer is not accepted"
                    | Unauthenticated _, StaticToken -> Expect.isFalse (accepts "default") "likewise"
                    | Unauthenticated _, (NoToken | BadToken _) ->
                        seen.When("401", true)
                        Expect.isTrue matters "only when a token is needed"
                    | Undecidable _, UnverifiableToken _ ->
                        seen.When("503", true)
                        Expect.isTrue matters "only when a token is needed"
                    | Forbidden reason, token ->
                        seen.When("403", true)
                        Expect.isNotEmpty reason "a reason"

                        // The address is the first thing that is looked at.
                        if matters && Access.AdmitsAddress(RouteDemands.Of route, caller.Address) then
                            Expect.isTrue (token = StaticToken || token.IsValidToken) "only for a known caller"

                            match token with
                            | ValidToken token -> Expect.isTrue (accepts token.Issuer) "of an accepted issuer"
                            | _ -> ()
                    | decision, token -> failtest $"{decision} for {token}")

            testCase "an anonymous rule that also demands something is not anonymous" (fun () ->
                let rule =
                    { bare with
                        Anonymous = true
                        AllPerms = [ "read" ]
                    }

                let server =
                    {
                        Token = false
                        Required = ""
                        Whitelist = []
                    }

                Expect.isFalse (decide server (Some rule) (Caller NoToken)).IsAllowed "closed")

            testCase "a route without demands is as open as the server" (fun () ->
                Expect.isTrue (Access.IsOpen(ServerDemands.None, RouteDemands.None)) "no flags"
                Expect.isFalse (Access.IsOpen(ServerDemands.Token, RouteDemands.None)) "a token")

            testCase "a caller made of nothing has neither token nor certificate" (fun () ->
                let caller = Unchecked.defaultof<Caller>
                Expect.isTrue caller.Token.IsNoToken "token"
                Expect.isTrue (isNull caller.Certificate) "certificate")

            testCase "deciding for one who may pass allocates nothing" (fun () ->
                let server = ServerDemands.Permissions("read", [ "x"; "write" ])

                let rule =
                    { bare with
                        AnyPerms = [ "admin"; "write" ]
                        TokenIssuers = [ "partners"; "staff" ]
                        Claims = Map [ "tenant", [ "b"; "a" ] ]
                        ClientCertSans = [ "b.example"; "*.example" ]
                    }

                let route = RouteDemands.Of(Some rule)

                let caller =
                    Caller(
                        ValidToken(
                            VerifiedToken.Of(
                                "staff",
                                Permissions.OfText "read write",
                                "ann",
                                [ KeyValuePair("tenant", [| "a" |]) ]
                            )
                        ),
                        [| UriSan "x:y"; DnsSan "a.example" |]
                    )

                let mutable allowed = Access.Decide(server, route, caller).IsAllowed
                let before = GC.GetAllocatedBytesForCurrentThread()

                for _ in 1..1000 do
                    allowed <- allowed && Access.Decide(server, route, caller).IsAllowed

                Expect.equal (GC.GetAllocatedBytesForCurrentThread() - before) 0L "bytes"
                Expect.isTrue allowed "allowed")

            testCase "a permissions claim is a list of names or a text with spaces" (fun () ->
                let names (permissions: Permissions) = permissions.Names |> Seq.sort |> List.ofSeq
                Expect.equal (names (Permissions.OfText "b  a a ")) [ "a"; "b" ] "text"
                Expect.equal (names (Permissions.OfList [ "b c"; "a"; ""; " " ])) [ "a"; "b c" ] "list"
                Expect.equal (names (Permissions.OfText null)) [] "null text"
                Expect.equal (names (Permissions.OfList null)) [] "null list"
                Expect.isFalse (Permissions.OfText("Read").Has "read") "case counts"
                Expect.isFalse (Permissions.None.Has "") "nothing")
        ]
