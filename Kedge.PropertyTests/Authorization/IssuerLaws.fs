/// Which tokens count, and what a change of their issuers means for callers.
module Kedge.PropertyTests.IssuerLaws

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open Kedge.Domain

let private issuer: Gen<TokenIssuer> =
    gen {
        let! name = Gen.elements [ "staff"; "partners" ]

        let! keys =
            Gen.frequency [ 4, Gen.constant ""; 1, Gen.constant "https://keys.example" ]

        let! audiences = Gen.elements [ [ "one" ]; [ "two" ]; [ "one"; "two" ] ]
        let! header = Gen.frequency [ 4, Gen.constant 0; 1, Gen.constant 1 ]

        let! perms =
            Gen.frequency [ 4, Gen.constant "perms"; 1, Gen.elements [ ""; "scope" ] ]

        let! algorithms = Gen.elements [ [ "RS256" ]; [ "ES256" ]; [ "RS256"; "ES256" ] ]
        let! skew = Gen.elements [ 30; 60 ]

        return
            { TokenIssuer.Default with
                Name = name
                Issuer = $"https://{name}.example"
                JwksUri = keys
                Audiences = Set.ofList audiences
                Header = enum<Decoded.TokenHeader> header
                PermsClaim = perms
                Algorithms = Set.ofList algorithms
                ClockSkew = TimeSpan.FromSeconds(float skew)
            }
    }

let private issuers: Gen<TokenIssuer list> =
    Gen.frequency
        [
            2, Gen.constant []
            1, Gen.constant [ TokenIssuer.Default ]
            3,
            Gen.choose (1, 2)
            |> Gen.bind (fun count -> Gen.listOfLength count issuer)
            |> Gen.map (List.distinctBy _.Name)
        ]

/// Demands on tokens alone, with the issuers as they are defined.
let private demands: Gen<RouteDemands> =
    gen {
        let! issuers = issuers
        let! anyPerms = Gen.elements [ []; []; [ "a" ]; [ "a"; "b" ] ]
        let! allPerms = Gen.elements [ []; []; [ "a" ] ]

        let! claims =
            Gen.frequency
                [
                    3, Gen.constant Map.empty
                    2,
                    Gen.elements
                        [
                            Map [ "tenant", [ "a" ] ]
                            Map [ "tenant", [ "b"; "a" ] ]
                            Map [ "tenant", [ "b" ]; "team", [ "x" ] ]
                        ]
                ]

        let rule: Decoded.Authorization =
            {
                AnyPerms = anyPerms
                AllPerms = allPerms
                ClientCertSans = []
                ClientNetworks = []
                DeniedClientNetworks = []
                TokenIssuers = issuers |> List.map _.Name
                Claims = claims
                Anonymous = false
            }

        return RouteDemands.Of(Some rule, issuers)
    }

let private unknown =
    { TokenIssuer.Default with
        Name = TokenIssuer.UnknownName
        Issuer = TokenIssuer.UnknownName
    }

/// Tokens of every kind that the definitions can tell apart; none = of the issuer that the flags set up.
let private tokens: (TokenIssuer * TokenTraits) option list =
    [
        None
        Some(unknown, TokenTraits.ofIssuer unknown)

        for name in [ "staff"; "partners" ] do
            for keys in [ ""; "https://keys.example" ] do
                for header in [ 0; 1 ] do
                    for audience in [ "one"; "two" ] do
                        for algorithm in [ "RS256"; "ES256" ] do
                            for expired in [ 0; 60 ] do
                                for perms in [ "perms"; "scope" ] do
                                    Some(
                                        { TokenIssuer.Default with Name = name },
                                        {
                                            Issuer = $"https://{name}.example"
                                            JwksUri = keys
                                            Header = enum<Decoded.TokenHeader> header
                                            Audience = audience
                                            Algorithm = algorithm
                                            ExpiredFor = TimeSpan.FromSeconds(float expired)
                                            PermsClaim = perms
                                        }
                                    )
    ]

let private claimsOfCallers =
    [
        Map.empty
        Map [ "tenant", "a"; "team", "x" ]
        Map [ "tenant", "b"; "team", "x" ]
        Map [ "tenant", "b" ]
    ]

/// Callers of every kind that such demands can tell apart.
let private universe: WitnessCaller list =
    [
        let caller meetsFlags permissions token claims =
            {
                MeetsFlags = meetsFlags
                Permissions = permissions
                Token = token
                Claims = claims
                Certificate = None
                Address = None
            }

        caller false [] None Map.empty

        for permissions in [ []; [ "a" ]; [ "b" ] ] do
            for token in tokens do
                for claims in claimsOfCallers do
                    caller true permissions token claims
    ]

let private isAdmitted demands caller = Admission.decide demands caller = "admitted"

let private load (json: string) = ConfigFile.loadDirector "d" (ReadOnlyMemory(Encoding.UTF8.GetBytes json))

let private file (issuers: string) (authorization: string) =
    $$"""{ "token_issuers": [{{issuers}}],
           "http": { "routes": [ { "backend_name": "shop", "authorization": {{authorization}} } ] } }"""

let private sample =
    """"name": "a", "issuer": "https://a.example", "jwks_uri": "https://a.example/keys", "audiences": ["one"],
       "header": "AUTHORIZATION", "perms_claim": "perms", "algorithms": ["RS256"], "clock_skew": "1m",
       "forward": "KEEP", "forward_claims": { "x-user": "sub" }"""

/// Every field of the sample, with another valid value.
let private changes =
    [
        "\"name\": \"a\"", "\"name\": \"b\""
        "https://a.example\"", "https://b.example\""
        "/keys", "/other"
        "\"one\"", "\"two\""
        "\"AUTHORIZATION\"", "\"PROXY_AUTHORIZATION\""
        "\"perms\"", "\"scope\""
        "\"RS256\"", "\"ES256\""
        "\"1m\"", "\"2m\""
        "\"KEEP\"", "\"REMOVE\""
        "\"x-user\"", "\"x-subject\""
        "\"sub\"", "\"email\""
    ]

let private errors (json: string) =
    match load json with
    | Ok _ -> []
    | Error errors -> errors |> List.map ConfigError.describe

[<Tests>]
let tests =
    testList
        "token issuers"
        [
            testList
                "changing any field of an issuer is a difference for the routes that name it"
                [
                    for before, after in changes do
                        test after {
                            // With KEEP, the header must be AUTHORIZATION.
                            let sample =
                                if after.Contains "PROXY" then
                                    sample.Replace("KEEP", "REMOVE")
                                else
                                    sample

                            let routes (json: string) =
                                let name = if json.Contains "\"name\": \"b\"" then "b" else "a"

                                match load (file $"{{ {json} }}" $$"""{ "token_issuers": ["{{name}}"] }""") with
                                | Ok director -> director.Value.HttpRoutes
                                | Error errors -> failtestf "%A" errors

                            let changed = sample.Replace(before, after)
                            Expect.notEqual changed sample "the sample has the field"
                            let differences = Diff.routes RouteSemantics.http (routes sample) (routes changed)
                            Expect.hasLength differences 1 "one route has changed"
                            Expect.isSome differences[0].Move "with a request"
                        }
                ]

            test "bad issuers are located errors" {
                for issuers, authorization, error in
                    [
                        "{}", "{}", "$.token_issuers[0]: name is required"
                        "{ \"name\": \"a\" }", "{}", "$.token_issuers[0]: issuer is required"
                        "{ \"name\": \"a\", \"issuer\": \"https://a\" }", "{}", "audiences is required"
                        "{ \"name\": \"default\", \"issuer\": \"https://a\", \"audiences\": [\"k\"] }",
                        "{}",
                        "$.token_issuers[0].name: must be another name"
                        "{ \"name\": \"a\", \"issuer\": \"http://id.example\", \"audiences\": [\"k\"] }",
                        "{}",
                        "$.token_issuers[0].issuer: must be an https URL"
                        "{ \"name\": \"a\", \"issuer\": \"https://a\", \"audiences\": [\"k\"], \"algorithms\": [\"RS265\"] }",
                        "{}",
                        "$.token_issuers[0].algorithms[0]: must be one of RS256"
                        "{ \"name\": \"a\", \"issuer\": \"https://a\", \"audiences\": [\"k\"], \"algorithms\": [\"HS256\"] }",
                        "{}",
                        "$.token_issuers[0].algorithms[0]: must be one of RS256"
                        "{ \"name\": \"a\", \"issuer\": \"https://a\", \"audiences\": [\"k\"], \"algorithms\": [\"none\"] }",
                        "{}",
                        "$.token_issuers[0].algorithms[0]: must be one of RS256"
                        "{ \"name\": \"a\", \"issuer\": \"https://a\", \"audiences\": [\"k\"], \"forward\": \"KEEP\" }",
                        "{}",
                        "$.token_issuers[0].forward: must be REMOVE"
                        "{ \"name\": \"a\", \"issuer\": \"https://a\", \"audiences\": [\"k\"], \"clock_skew\": \"1h\" }",
                        "{}",
                        "$.token_issuers[0].clock_skew: must be 1s to 10m"
                        "{ \"name\": \"a\", \"issuer\": \"https://a\", \"audiences\": [\"k\"], \"forward_claims\": { \"host\": \"sub\" } }",
                        "{}",
                        "$.token_issuers[0].forward_claims.host: must be a header"
                        $"{{ {sample} }}, {{ {sample} }}", "{}", "$.token_issuers[1].issuer: the name is taken"
                        $"{{ {sample} }}",
                        "{ \"token_issuers\": [\"A\"] }",
                        "$.http.routes[0].authorization.token_issuers[0]: no token issuer has that name; did you mean a?"
                        $"{{ {sample} }}",
                        "{ \"token_issuers\": [\"a\", \"a\"] }",
                        "$.http.routes[0].authorization.token_issuers[1]: must be given once"
                        "",
                        "{ \"claims\": { \"tenant\": [] } }",
                        "$.http.routes[0].authorization.claims.tenant: must have a value"
                        "",
                        "{ \"anonymous\": true, \"claims\": { \"tenant\": [\"a\"] } }",
                        "$.http.routes[0].authorization.anonymous: opens the route"
                    ] do
                    Expect.exists
                        (errors (file issuers authorization))
                        (fun found -> found.Contains(error, StringComparison.Ordinal))
                        $"{issuers} {authorization}: {errors (file issuers authorization)}"
            }

            Law.test
                "a witness with a token is admitted by the one and not by the other, and there is one whenever there can be"
                400
                [
                    "loosened", 100
                    "not loosened", 10
                    "by an issuer's definition", 20
                    "by a claim", 10
                ]
                (Arb.fromGen (Gen.zip demands demands))
                (fun seen (one, other) ->
                    let exists =
                        universe
                        |> List.exists (fun caller -> isAdmitted one caller && not (isAdmitted other caller))

                    let witness = Admission.onlyAdmittedBy one other
                    seen.When("loosened", exists)
                    seen.When("not loosened", not exists)
                    Expect.equal witness.IsSome exists "exact"

                    match witness with
                    | Some caller ->
                        let names (demands: RouteDemands) = demands.Issuers.ToArray()

                        let sameName =
                            caller.Token
                            |> Option.exists (fun (issuer, _) -> Array.contains issuer.Name (names other))

                        seen.When("by an issuer's definition", sameName && isAdmitted one caller)
                        seen.When("by a claim", not caller.Claims.IsEmpty && names one = names other)
                        Expect.isTrue (isAdmitted one caller) "admitted by the one"
                        Expect.isFalse (isAdmitted other caller) "not by the other"
                        Expect.isNotEmpty caller.Text "in words"
                    | None -> ())

            Law.test
                "whatever tokens one definition of an issuer accepts and another does not, a candidate shows it"
                3000
                [
                    "some are", 500
                    "none is", 300
                    "by an audience that is not the first", 20
                    "by an algorithm that is not the first", 20
                    "by the clock skew alone", 50
                ]
                (Arb.fromGen (Gen.zip issuer issuer))
                (fun seen (one, other) ->
                    let other =
                        { other with
                            Name = one.Name
                            Issuer = one.Issuer
                        }

                    let isShownBy token = TokenTraits.isAccepted one token && not (TokenTraits.isAccepted other token)

                    let exists = tokens |> List.choose (Option.map snd) |> List.exists isShownBy
                    let candidates = TokenTraits.candidates one (Some other)
                    Expect.all candidates (TokenTraits.isAccepted one) "the issuer accepts each"
                    Expect.equal (List.exists isShownBy candidates) exists "exact"

                    // The plain one shows nothing.
                    let audiences = one.Audiences - other.Audiences
                    let algorithms = one.Algorithms - other.Algorithms
                    let isLater = one.ClockSkew > other.ClockSkew
                    let isPlainTaken = not (isShownBy (TokenTraits.ofIssuer one))
                    seen.When("some are", exists)
                    seen.When("none is", not exists)

                    seen.When(
                        "by an audience that is not the first",
                        isPlainTaken && not audiences.IsEmpty && algorithms.IsEmpty && not isLater
                    )

                    seen.When(
                        "by an algorithm that is not the first",
                        isPlainTaken && not algorithms.IsEmpty && audiences.IsEmpty && not isLater
                    )

                    seen.When(
                        "by the clock skew alone",
                        isPlainTaken && isLater && audiences.IsEmpty && algorithms.IsEmpty
                    ))

            Law.test
                "a token counts where its issuer is named, by its name alone; without names, that of the flags"
                400
                [ "counts", 50; "does not count", 50; "default", 50 ]
                (Arb.fromGen (Gen.zip demands (Gen.elements [ "default"; "staff"; "partners"; "other" ])))
                (fun seen (demands, issuer) ->
                    let names = demands.Issuers.ToArray()

                    let counts =
                        if names.Length = 0 then
                            issuer = "default"
                        else
                            Array.contains issuer names

                    let claims =
                        [ "tenant", [| "a"; "b" |]; "team", [| "x" |] ]
                        |> Seq.map System.Collections.Generic.KeyValuePair.Create

                    let token =
                        ValidToken(VerifiedToken.Of(issuer, Permissions.OfList [ "a"; "b" ], "ann", claims))

                    let decision = Access.Decide(ServerDemands.Token, demands, Caller token)
                    seen.When("counts", counts)
                    seen.When("does not count", not counts)
                    seen.When("default", names.Length = 0)
                    Expect.equal decision.IsAllowed counts "with all permissions and claims"
                    Expect.equal decision.IsUnauthenticated (not counts) "401 otherwise")

            testCase "a definition accepts a token only if all that the token has is accepted" (fun () ->
                let issuer =
                    { TokenIssuer.Default with
                        Name = "staff"
                        Issuer = "https://staff.example"
                        Audiences = Set [ "one"; "two" ]
                        Algorithms = Set [ "RS256" ]
                    }

                let token = TokenTraits.ofIssuer issuer
                Expect.isTrue (TokenTraits.isAccepted issuer token) "as it is"
                Expect.isTrue (TokenTraits.isAccepted issuer { token with Audience = "two" }) "another audience"

                let late =
                    { token with
                        ExpiredFor = issuer.ClockSkew
                    }

                Expect.isTrue (TokenTraits.isAccepted issuer late) "within the clock skew"

                for other in
                    [
                        { token with
                            Issuer = "https://staff.example/"
                        }
                        { token with
                            JwksUri = "https://keys.example"
                        }
                        { token with
                            Header = Decoded.TokenHeader.Authorization
                        }
                        { token with Audience = "three" }
                        { token with Algorithm = "ES256" }
                        { token with
                            ExpiredFor = issuer.ClockSkew + TimeSpan.FromTicks 1L
                        }
                    ] do
                    Expect.isFalse (TokenTraits.isAccepted issuer other) $"{other}")

            testCase "an issuer that is named and not defined admits nobody" (fun () ->
                let rule: Decoded.Authorization =
                    {
                        AnyPerms = []
                        AllPerms = []
                        ClientCertSans = []
                        ClientNetworks = []
                        DeniedClientNetworks = []
                        TokenIssuers = [ "gone" ]
                        Claims = Map.empty
                        Anonymous = false
                    }

                let demands = RouteDemands.Of(Some rule, [])
                Expect.isFalse (Access.IsOpen(ServerDemands.None, demands)) "not open"
                let token = ValidToken(VerifiedToken(Permissions.None, "ann"))
                Expect.isFalse (Access.Decide(ServerDemands.None, demands, Caller token)).IsAllowed "nor for default")
        ]
