module Kedge.Tests.EndToEnd.HostileBackendTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.HostileBackendCalls
open Kedge.Tests.EndToEnd.HostileBackendPeer
open Kedge.Tests.EndToEnd.HostileBackendTable
open Kedge.Tests.Harness

/// The backend that speaks HTTP/2 to HTTP callers: that takes TLS, and so a backend that kedge knows.
let private secure =
    Shared.make (fun () -> new HostilePeer(true, false, Some(Certificates.server.Value)))

let private kedge =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.directorWithAdhoc
                    [ Json.httpRoute "secure" "secure.example" ]
                    []
                    [
                        """{ "dns_name_matcher": "127.0.0.1", "port": { "allowed_ranges": [{ "from": 1, "to": 65535 }] } }"""
                    ],
                Json.pool
                    [
                        $$"""{ "name": "secure", "host": { "dns_name": "127.0.0.1", "port": {{secure.Value.Port}} },
                               "security": { "insecure_skip_verify": true } }"""
                    ]
                    [],
                [
                    "--adhoc_allow_loopback"
                    "--server_http_max_read_timeout=3s"
                    "--server_http_max_write_timeout=3s"
                ]
            )
            .GetAwaiter()
            .GetResult())

let private http2 = lazy Clients.http2 kedge.Value.HttpsPort None
let private grpc = lazy Clients.http2 kedge.Value.GrpcPort None
let private secureTurn = new SemaphoreSlim 1

type private Caller =
    | Http1
    | Http2
    | Grpc

/// One run: perhaps a sound request, then the hostile answer, then a sound request on the same connections.
let private run (case: BackendCase) (isHttp2: bool) (caller: Caller) (isReused: bool) =
    task {
        let isSecure = isHttp2 && caller <> Grpc

        let peer =
            if isSecure then
                secure.Value
            else
                new HostilePeer(isHttp2, isHttp2, None)

        try
            let host =
                if isSecure then
                    "secure.example"
                else
                    $"127.0.0.1:{peer.Port}"

            use http1 = new Http1Caller(kedge.Value.HttpsPort)

            let call method body =
                match caller with
                | Http1 -> http1.Call(method, host, body)
                | Http2 -> callHttp2 http2.Value method host body
                | Grpc -> callGrpc grpc.Value host

            let sound = if caller = Grpc then "OK" else "200 fine"

            let expected =
                match caller with
                | Http1 -> case.Http1
                | Http2 -> case.Http2
                | Grpc -> case.Grpc

            let what =
                $"""{case.Name}: {caller}, {if isReused then "on a connection in use" else "alone"}"""

            peer.Drop()

            if isReused then
                let! first = call "GET" 0
                Expect.equal first.Text sound $"{what}: the request before"

            peer.Arm case
            let! outcome = call case.Method case.Body
            peer.Disarm()

            if not (List.contains outcome.Text expected) then
                failtestf "%s: %s in place of %s; %A" what outcome.Text (String.Join(" | ", expected)) outcome.Headers

            let valuesOf name =
                outcome.Headers
                |> List.filter (fun (n, _) -> String.Equals(n, name, StringComparison.OrdinalIgnoreCase))
                |> List.map snd

            for name, value in case.Has do
                Expect.equal (valuesOf name) [ value ] $"{what}: {name}"

            for name in case.Lacks do
                Expect.isEmpty (valuesOf name) $"{what}: {name}"

            for time in [ "first"; "second" ] do
                let! next = call "GET" 0
                Expect.equal next.Text sound $"{what}: the {time} request after"
        finally
            if not isSecure then
                (peer :> IDisposable).Dispose()
    }

let private check (isHttp2: bool) (case: BackendCase) =
    task {
        let runs callers =
            [
                for caller in callers do
                    for isReused in [ false; true ] do
                        // Before a connection is there, nothing can happen on one that is in use.
                        if
                            not (case.When = AtOnce && isReused)
                            && not (case.When = Unasked && not isReused)
                        then
                            caller, isReused
            ]

        let takers =
            [
                if not case.Http1.IsEmpty then
                    Http1
                if not case.Http2.IsEmpty then
                    Http2
                if not case.Grpc.IsEmpty then
                    Grpc
            ]

        // Those that share a backend wait for each other.
        let apart, shared =
            takers
            |> runs
            |> List.partition (fun (caller, _) -> not isHttp2 || caller = Grpc)

        let apart =
            [
                for caller, isReused in apart do
                    run case isHttp2 caller isReused
            ]

        do! secureTurn.WaitAsync()

        try
            for caller, isReused in shared do
                do! run case isHttp2 caller isReused
        finally
            secureTurn.Release() |> ignore

        let! _ = Task.WhenAll apart
        Expect.isFalse kedge.Value.Program.HasExited kedge.Value.Program.Output
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "hostile backends"
        [
            test "the tables are there" {
                let count = all |> List.sumBy (fun (_, _, cases) -> cases.Length)
                Expect.isGreaterThanOrEqual count 150 "cases"

                for table, _, cases in all do
                    let names = cases |> List.map _.Name
                    Expect.equal (List.distinct names) names table

                    for case in cases do
                        Expect.isNonEmpty (case.Http1 @ case.Http2 @ case.Grpc) case.Name
            }

            for table, isHttp2, cases in all do
                for entry in cases do
                    case $"{table}: {entry.Name}" (fun () -> check isHttp2 entry)

            case "nobody failed inside kedge" (fun () ->
                task {
                    let! samples = DebugPort.samples kedge.Value

                    let internal' =
                        samples
                        |> List.filter (fun sample -> sample.Labels.TryFind "type" = Some "internal-error")

                    Expect.isEmpty internal' "internal errors"

                    let traces =
                        kedge.Value.Program.Stderr
                        |> Array.filter (fun line -> line.Contains "internal error" || line.Contains "\"exception\"")

                    Expect.isEmpty traces "stack traces in the log"
                })
        ]
