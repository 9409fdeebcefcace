/// The provider's keys: of every kind, rotating, and out of reach.
module Kedge.Tests.Authorization.KeyTests

open System.Threading.Tasks
open Expecto
open Kedge.Tests.Authorization.Calls
open Kedge.Tests.Harness

let private http = Shared.make (fun () -> new HttpPeer "keys")
let private grpc = Shared.make (fun () -> new GrpcPeer "keys")
let private host = "keys.example"
let private startWith (issuer: Issuer) = start http.Value grpc.Value [ host, "{}" ] issuer.Flags

[<Tests>]
let tests =
    testList
        "OIDC keys"
        [
            case "RS, PS and ES signatures are verified" (fun () ->
                task {
                    use issuer = new Issuer()

                    issuer.Keys <-
                        [
                            SigningKey.Rsa("rs256", "RS256")
                            SigningKey.Rsa("rs512", "RS512")
                            SigningKey.Rsa("ps256", "PS256")
                            SigningKey.Ec "es256"
                        ]

                    use! kedge = startWith issuer

                    for key in issuer.Keys do
                        do! send kedge host (issuer.TokenBy(key, []).Text) Passed "" key.Algorithm
                        // The same key id, another key.
                        let impostor =
                            if key.Algorithm = "ES256" then
                                SigningKey.Ec key.Id
                            else
                                SigningKey.Rsa(key.Id, key.Algorithm)

                        let forged = issuer.TokenBy(impostor, []).Text
                        do! send kedge host forged Outcome.unauthenticated "signature" $"{key.Algorithm}, forged"
                })

            case "a new key is fetched when the first token with it comes, and the old one is then refused" (fun () ->
                task {
                    use issuer = new Issuer()
                    use! kedge = startWith issuer
                    let old = (issuer.Token []).Text
                    do! send kedge host old Passed "" "before"
                    let fetches = issuer.KeyFetches
                    issuer.Keys <- [ SigningKey.Ec "second" ]
                    do! send kedge host (issuer.Token []).Text Passed "" "new key"
                    Expect.equal issuer.KeyFetches (fetches + 1) "one fetch"
                    do! send kedge host old Outcome.unauthenticated "unknown key" "old key, though its token was known"
                })

            case "tokens with invented key ids cause one fetch, not one each" (fun () ->
                task {
                    use issuer = new Issuer()
                    use! kedge = startWith issuer
                    do! send kedge host (issuer.Token []).Text Passed "" "before"
                    let fetches = issuer.KeyFetches

                    let! statuses =
                        Task.WhenAll
                            [
                                for i in 1..40 ->
                                    status kedge host (issuer.TokenBy(SigningKey.Ec $"invented-{i}", []).Text)
                            ]

                    Expect.allEqual statuses 401 "refused"
                    Expect.equal issuer.KeyFetches (fetches + 1) "one fetch"
                    do! send kedge host (issuer.Token []).Text Passed "" "after"
                })

            case "a provider that is away at the start: unavailable with a reason until its keys are there" (fun () ->
                task {
                    use issuer = new Issuer()
                    issuer.IsAway <- true
                    use! kedge = startWith issuer
                    let token = (issuer.Token []).Text
                    do! send kedge host token Outcome.unavailable "provider is unavailable" "unavailable"
                    do! send kedge host "" Outcome.unauthenticated "needed" "no token is no token"
                    do! send kedge host "a.b.c" Outcome.unauthenticated "malformed" "nor is nonsense"
                    issuer.IsAway <- false

                    do!
                        eventually "the keys are fetched" (fun () ->
                            (status kedge host token).GetAwaiter().GetResult() = 200)

                    do! send kedge host token Passed "" "back"
                    Expect.stringContains kedge.Program.Output issuer.Name "the log names the provider"
                })

            case "known keys keep working while the provider is away" (fun () ->
                task {
                    use issuer = new Issuer()
                    use! kedge = startWith issuer
                    do! send kedge host (issuer.Token []).Text Passed "" "before"
                    issuer.IsAway <- true
                    // Another token than before, so that it is verified and not remembered.
                    do! send kedge host (issuer.Token []).Text Passed "" "away"
                    let unknown = issuer.TokenBy(SigningKey.Ec "unheard-of", []).Text
                    do! send kedge host unknown Outcome.unavailable "provider is unavailable" "an unknown key"
                    do! send kedge host (issuer.Token []).Text Passed "" "still"
                })
        ]
