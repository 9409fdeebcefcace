/// Refreshes of tokens, with a clock that the test moves.
module Kedge.Client.Tests.Winch.RefreshTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Client
open Kedge.Client.Domain
open Kedge.Client.Domain.Decoded
open Kedge.Client.Tests
open Kedge.Client.Tests.Mapping.Files
open Kedge.Tests.Harness
open Kedge.Winch.Sources

/// The settings of the only source of a file.
let private settings (double: OidcDouble) : Oidc =
    match ClientFiles.DecodeSources("auth.json", bytes (double.Sources "")) with
    | Ok {
             AuthSources = [ { Kind = SourceKind.Oidc oidc } ]
         } -> oidc
    | other -> failtestf "%A" other

let private get (source: ITokenSource) =
    task {
        let! token = source.GetTokenAsync CancellationToken.None
        return token.Value
    }

/// A login whose token lives for 1,000 s, by a clock of its own.
let private loggedIn () =
    task {
        let double = new OidcDouble()
        double.Lifetime <- 1000
        let clock = Clock DateTimeOffset.UtcNow
        let settings = settings double
        let provider = new OidcProvider(settings, patience)
        let source = new OidcSource("sso", settings, provider, MemoryStore(), clock)

        do!
            source.LoginByDeviceAsync(ignore, CancellationToken.None)
            |> finishes "the login"

        return double, clock, source
    }

[<Tests>]
let tests =
    testList
        "winch, refreshes"
        [
            case "a token is refreshed at 80 % of its life, while requests have the old one" (fun () ->
                task {
                    let! double, clock, source = loggedIn ()
                    use double = double
                    use source = source
                    // The provider's clock is the system's, so tokens of later refreshes must live longer.
                    double.Lifetime <- 10000
                    let! first = get source
                    clock.Pass 790.0
                    let! same = get source
                    Expect.equal same first "young"
                    // A refresh would have begun within the call.
                    do!
                        Absence.during (TimeSpan.FromMilliseconds 300.0) "a refresh" (fun () ->
                            Task.FromResult(double.Refreshes > 0))

                    clock.Pass 15.0
                    let! old = get source
                    Expect.equal old first "nobody waits"
                    do! eventually "the refresh" (fun () -> source.Refreshes = 1L)
                    let! next = get source
                    Expect.notEqual next first "a new one"
                    Expect.equal double.Refreshes 1 "one refresh"
                })

            case "no request waits longer than 3 s for a provider that says nothing" (fun () ->
                task {
                    let! double, clock, source = loggedIn ()
                    use double = double
                    use source = source
                    double.IsSilent <- true
                    clock.Pass 995.0

                    // Both wait for the same refresh.
                    let! errors =
                        Task.WhenAll
                            [
                                for _ in 1..2 do
                                    failure<TokenException> "a token" (fun () -> get source)
                            ]

                    for error in errors do
                        Expect.stringContains error.Message "has not answered within 3 s" "says what it waited for"

                    double.IsSilent <- false
                })

            case "a refresh ahead that fails does no harm while the token is valid" (fun () ->
                task {
                    let! double, clock, source = loggedIn ()
                    use double = double
                    use source = source
                    let! first = get source
                    double.IsAway <- true
                    clock.Pass 850.0
                    let! still = get source
                    do! eventually "the failure" (fun () -> source.FailedRefreshes = 1L)
                    let! again = get source
                    Expect.equal (still, again) (first, first) "valid"
                    Expect.isNotNull source.Problem "and reported"
                    double.IsAway <- false
                    double.Lifetime <- 10000
                    clock.Pass 5.0
                    let! _ = get source
                    do! eventually "the next try" (fun () -> source.Refreshes = 1L)
                    Expect.isNull source.Problem "no longer"
                })
        ]
