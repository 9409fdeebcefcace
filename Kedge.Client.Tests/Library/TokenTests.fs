module Kedge.Client.Tests.Library.TokenTests

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Client
open Kedge.Client.Tests
open Kedge.Tests.Harness

let private text (source: ITokenSource) =
    task {
        let! token = source.GetTokenAsync CancellationToken.None
        return token.Value
    }

let private exec (command: string) (args: string list) (seconds: float) =
    TokenSources.Exec("x", command, args, Dictionary<string, string>(), TimeSpan.FromSeconds seconds)

[<Tests>]
let tests =
    testList
        "token sources"
        [
            case "a hundred who wait cause one fetch" (fun () ->
                task {
                    let mutable fetches = 0
                    let gate = TaskCompletionSource()

                    let source =
                        CachedTokenSource(
                            "x",
                            Func<_, _>(fun _ ->
                                task {
                                    let number = Interlocked.Increment &fetches
                                    do! gate.Task
                                    return AuthToken $"token-{number}"
                                })
                        )
                        :> ITokenSource

                    let waiting = [ for _ in 1..100 -> text source ]
                    gate.SetResult()
                    let! tokens = Task.WhenAll waiting |> within "tokens"
                    Expect.equal (set tokens) (set [ "token-1" ]) "one for all"
                    Expect.equal fetches 1 "one fetch"
                })

            case
                "a token is fetched ahead of its end, while the old one serves; a rejected one is not given again"
                (fun () ->
                    task {
                        let clock = Clock(DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero))
                        let mutable fetches = 0

                        let cached =
                            CachedTokenSource(
                                "x",
                                Func<_, _>(fun _ ->
                                    let number = Interlocked.Increment &fetches
                                    let ends = Nullable(clock.GetUtcNow().AddSeconds 100.0)
                                    Task.FromResult(AuthToken($"token-{number}", "Bearer", ends))),
                                clock
                            )

                        let source = cached :> ITokenSource
                        let! first = text source
                        clock.Pass 79.0
                        let! same = text source
                        Expect.equal (first, same, fetches) ("token-1", "token-1", 1) "young"
                        clock.Pass 2.0
                        let! old = text source
                        Expect.equal old "token-1" "nobody waits"
                        do! eventually "the fetch ahead" (fun () -> (nonNull cached.Current).Value = "token-2")
                        let! next = source.GetTokenAsync CancellationToken.None
                        source.Invalidate next
                        let! another = text source
                        Expect.equal another "token-3" "another one"
                        source.Invalidate next
                        let! kept = text source
                        Expect.equal kept "token-3" "what is no longer kept cannot be rejected again"
                    })

            case "a failure reaches all who wait, and the next call tries again" (fun () ->
                task {
                    let mutable fetches = 0

                    let source =
                        CachedTokenSource(
                            "x",
                            Func<_, _>(fun _ ->
                                if Interlocked.Increment &fetches = 1 then
                                    Task.FromException<AuthToken>(InvalidOperationException "away")
                                else
                                    Task.FromResult(AuthToken "token"))
                        )
                        :> ITokenSource

                    let! error = failure<TokenException> "the fetch" (fun () -> text source)
                    Expect.equal error.Message "auth source x: away" "the reason"
                    let! token = text source
                    Expect.equal token "token" "the next"
                })

            case "a command prints a token or an ExecCredential" (fun () ->
                task {
                    let! plain = text (exec "echo" [ "plain-token" ] 10.0)
                    Expect.equal plain "plain-token" "plain"

                    let credential =
                        """{ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                             "status": { "token": "exec-token", "expirationTimestamp": "2099-01-01T00:00:00Z" } }"""

                    let! token = (exec "echo" [ credential ] 10.0).GetTokenAsync CancellationToken.None
                    Expect.equal token.Value "exec-token" "token"
                    Expect.equal token.ExpiresAt (Nullable(DateTimeOffset(2099, 1, 1, 0, 0, 0, TimeSpan.Zero))) "end"
                })

            case "what goes wrong with a command is one sentence without its output" (fun () ->
                task {
                    for command, args, seconds, expected in
                        [
                            "no-such-command-here", [], 10.0, "No such file"
                            "sh", [ "-c"; "echo s3cr3t; exit 3" ], 10.0, "exit code 3"
                            "sleep", [ "60" ], 0.3, "no token within 0.3 s"
                            "echo", [ """{ "status": "s3cr3t" }""" ], 10.0, "no ExecCredential"
                            "echo", [ "s3cr3t with blanks" ], 10.0, "characters that no token has"
                            "true", [], 10.0, "the token is empty"
                        ] do
                        let! error =
                            failure<TokenException> command (fun () -> text (exec command args seconds))

                        Expect.stringContains error.Message expected command
                        Expect.isFalse (error.Message.Contains "s3cr3t") "no output"
                })

            case "files and variables are read each time" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("token", "one\n")
                    let source = TokenSources.File("x", file)
                    let! one = text source
                    scratch.Write("token", "two") |> ignore
                    let! two = text source
                    Expect.equal (one, two) ("one", "two") "the file's"

                    let! missing =
                        failure<TokenException> "no file" (fun () -> text (TokenSources.File("x", file + "-")))

                    Expect.stringContains missing.Message "auth source x" "names the source"

                    let! unset =
                        failure<TokenException> "no variable" (fun () ->
                            text (TokenSources.Environment("x", "NO_SUCH_VARIABLE")))

                    Expect.stringContains unset.Message "NO_SUCH_VARIABLE is not set" "names the variable"
                })

            test "a token does not show itself" { Expect.equal (string (AuthToken "s3cr3t")) "Bearer ******" "text" }
        ]
