module Kedge.Tests.EndToEnd.HostileBackendTests

open System
open System.Threading.Channels
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.HostileBackendCalls
open Kedge.Tests.EndToEnd.HostileBackendPeer
open Kedge.Tests.EndToEnd.HostileBackendTable
open Kedge.Tests.Harness

/// The backends that speak HTTP/2 to HTTP callers: that takes TLS, and so backends that kedge knows.
let private secure =
    [|
        for _ in 1..4 do
            Shared.make (fun () -> new HostilePeer(true, false, Some(Certificates.server.Value)))
    |]

let private kedge =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.directorWithAdhoc
                    [
                        for number in 0..3 do
                            Json.httpRoute $"secure{number}" $"secure{number}.example"
                    ]
                    []
                    [
                        """{ "dns_name_matcher": "127.0.0.1", "port": { "allowed_ranges": [{ "from": 1, "to": 65535 }] } }"""
                    ],
                Json.pool
                    [
                        for number in 0..3 do
                            $$"""{ "name": "secure{{number}}",
                                   "host": { "dns_name": "127.0.0.1", "port": {{secure[number].Value.Port}} },
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

/// The secure backends that no case uses now.
let private free =
    let channel = Channel.CreateUnbounded<int>()

    for number in 0..3 do
        channel.Writer.TryWrite number |> ignore

    channel

type private Caller =
    | Http1
    | Http2
    | Grpc

/// One run: perhaps a sound request, then the hostile answer, then a sound request on the same connections.
let private run (case: BackendCase) (isHttp2: bool) (caller: Caller) (isReused: bool) =
    task {
        let! number =
            if isHttp2 && caller <> Grpc then
                free.Reader.ReadAsync().AsTask()
            else
                Task.FromResult -1

        let isSecure = number >= 0

        let peer =
            if isSecure then
                secure[number].Value
            else
                new HostilePeer(isHttp2, isHttp2, None)

        try
            let host =
                if isSecure then
                    $"secure{number}.example"
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
            if isSecure then
                free.Writer.TryWrite number |> ignore
            else
                (peer :> IDisposable).Dispose()
    }

let private check (isHttp2: bool) (case: BackendCase) =
    task {
        let runs callers =
            [
                for caller in callers do
                    for isReused in [ false; true ] do
                        // Before a connection is there, nothing can happen on one that is in use.
                        if not (case.When = AtOnce && isReused) then
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

        let! _ =
            Task.WhenAll [ for caller, isReused in runs takers -> run case isHttp2 caller isReused ]

        Expect.isFalse kedge.Value.Program.HasExited kedge.Value.Program.Output
    }

let private cases =
    [|
        for table, isHttp2, cases in all do
            for entry in cases do
                $"{table}: {entry.Name}", isHttp2, entry
    |]

/// Most of the cases wait. Each begins the next few, so that several wait at the same time.
let private begun =
    [| for _, isHttp2, entry in cases -> lazy (check isHttp2 entry) |]

let private ended (work: Task) =
    task {
        try
            do! work
        with _ ->
            ()
    }

let private checked' (index: int) : Task<unit> =
    task {
        let window = begun[index .. min (index + 7) (begun.Length - 1)]

        for later in window do
            later.Force() |> ignore

        do! ended begun[index].Value

        if not begun[index].Value.IsCompletedSuccessfully then
            // The limits that many cases are about are short, and eight cases at a time may exceed them on a slow machine.
            // What fails alone, too, is wrong.
            for later in window do
                do! ended later.Value

            let _, isHttp2, entry = cases[index]
            do! check isHttp2 entry
    }

[<Tests>]
let tests =
    testSequencedGroup "hostile backends"
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

            yield!
                cases
                |> Seq.mapi (fun index (name, _, _) -> case name (fun () -> checked' index))

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
