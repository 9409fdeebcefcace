module Kedge.Tests.EndToEnd.HostileTableTests

open System
open System.IO
open System.Text
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Domain
open Kedge.Tests.EndToEnd.HostileTable
open Kedge.Tests.Harness

let private recorder = Shared.make (fun () -> new RecordingPeer())

let private kedge =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.director
                    [
                        """{ "backend_name": "guarded", "path_rules": ["/admin/*"] }"""
                        """{ "backend_name": "open" }"""
                    ]
                    [],
                Json.pool
                    [
                        Json.backend "guarded" recorder.Value.Port
                        Json.backend "open" recorder.Value.Port
                    ]
                    [],
                []
            )
            .GetAwaiter()
            .GetResult())

let private mustNotPass =
    [
        "Connection"
        "Keep-Alive"
        "Proxy-Connection"
        "Proxy-Authorization"
        "Proxy-Anything"
        "TE"
        "Trailer"
        "Upgrade"
        "HTTP2-Settings"
        "X-Forwarded-Client-Cert"
        "X-Kedge-Backend-Name"
        "X-Kedge-Error"
        "X-Content-Length"
        "X-Smuggled"
        "X-Hidden"
    ]

/// How the request differs from the one form in which kedge sends requests to HTTP/1.1 backends.
let private canonicalFault (request: WireRequest) : string option =
    let line =
        Regex.Match(request.RequestLine, @"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+ (/[^ ?]*)(\?[^ ]*)? HTTP/1\.1\z")

    let malformed (name: string, value: string) =
        not (Regex.IsMatch(name, @"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\z"))
        || Regex.IsMatch(value, @"[\x00-\x08\x0a-\x1f\x7f]|\A\s|\s\z")

    let once name =
        match request.Values name with
        | [ _ ] -> None
        | values -> Some $"{name}: %A{values}"

    // A WebSocket's handshake, which passes, in kedge's words.
    let isUpgrade name =
        (name = "Connection" && request.Values name = [ "Upgrade" ])
        || (name = "Upgrade" && request.Values name = [ "websocket" ])

    if not line.Success then
        Some "the request line"
    elif request.RequestLine.Contains "smuggled" then
        Some "a smuggled request"
    elif not (RequestPath.isCanonical (line.Groups[1].Value.AsSpan())) then
        Some "the path is not canonical"
    else
        [
            request.Headers |> List.tryFind malformed |> Option.map string
            mustNotPass
            |> List.tryFind (fun name -> not (request.Values(name).IsEmpty || isUpgrade name))
            |> Option.map (fun name -> $"{name} is there")
            for name in
                [
                    "Host"
                    "X-Forwarded-For"
                    "X-Forwarded-Host"
                    "X-Forwarded-Proto"
                    "X-Kedge-Request-ID"
                ] do
                once name
        ]
        |> List.tryPick id

/// The statuses of the answers, in order, and their text; more than `expected` are waited for only briefly.
let private readAnswers (client: RawClient) (expected: int) : Task<string * string> =
    task {
        let text = StringBuilder()
        let buffer = Array.zeroCreate<byte> 16384
        let mutable reading = true

        let statuses () =
            [
                for found in Regex.Matches(text.ToString(), @"HTTP/1\.1 (\d{3})") do
                    if found.Groups[1].Value <> "100" then
                        found.Groups[1].Value
            ]

        try
            while reading do
                let enough = (statuses ()).Length >= expected
                use limit = new CancellationTokenSource(if enough then 100 else 15_000)
                let! count = client.Stream.ReadAsync(buffer.AsMemory(), limit.Token)
                reading <- count > 0
                text.Append(Encoding.Latin1.GetString(buffer, 0, count)) |> ignore
        with
        | :? IOException -> reading <- false
        | :? OperationCanceledException -> ()

        let answer =
            match statuses () with
            | [] -> if reading then "nothing" else "closed"
            | found -> String.Join(' ', found)

        return answer, text.ToString()
    }

let private overHttp1 (case: HostileCase) =
    task {
        use! client = RawClient.Connect kedge.Value.HttpsPort

        try
            do! client.Write(String.Join("", case.Sent))

            if case.IsCut then
                do! client.Stream.ShutdownAsync()
        with :? IOException ->
            // Refused before all of it was sent.
            ()

        let expected =
            case.Answers |> List.map (fun answer -> answer.Split(' ').Length) |> List.max

        return! readAnswers client expected
    }

let private overHttp2 (case: HostileCase) =
    task {
        use! client = Http2Frames.Connect kedge.Value.HttpsPort
        do! client.Headers(1, List.map field case.Sent, case.Data.IsNone)

        match case.Data with
        | Some data -> do! client.Data(1, data)
        | None -> ()

        let! events =
            client.ReadUntil(function
                | Ended 1
                | Reset(1, _)
                | GoAway _
                | Closed -> true
                | _ -> false)

        return
            (events
             |> List.tryPick (function
                 | Status(1, status) -> Some(string status)
                 | Reset(1, _) -> Some "reset"
                 | GoAway _
                 | Closed -> Some "closed"
                 | _ -> None)
             |> Option.defaultValue "nothing"),
            ""
    }

let private check (table: string) (case: HostileCase) =
    task {
        recorder.Value.Take() |> ignore

        let! answer, text =
            if table.StartsWith("http2", StringComparison.Ordinal) then
                overHttp2 case
            else
                overHttp1 case

        let received, faults = recorder.Value.Take()
        let seen = $"; the backend got %A{received}"

        if not (List.contains answer case.Answers) then
            failtestf "answered %s instead of %s%s" answer (String.Join(" | ", case.Answers)) seen

        Expect.isEmpty faults "what the backend could not read"

        for request in received do
            match canonicalFault request with
            | Some fault -> failtestf "not canonical: %s%s" fault seen
            | None -> ()

        if not (case.MayBeNothing && received.IsEmpty) then
            Expect.equal (received |> List.map _.RequestLine) case.Backend "requests at the backend"

        match case.Route with
        | Some route when text <> "" -> Expect.stringContains text $"X-Kedge-Backend-Name: {route}\r\n" "route"
        | _ -> ()

        match received with
        | [] -> ()
        | first :: _ ->
            for name, value in case.Has do
                Expect.equal (first.Values name) [ value ] name

            for request in received do
                for name in case.Lacks do
                    Expect.isEmpty (request.Values name) name

            match case.Body with
            | Some body -> Expect.equal first.Body body "body"
            | None -> ()
    }

[<Tests>]
let tests =
    testSequencedGroup "hostile requests"
    <| testList
        "hostile requests"
        [
            test "the tables are there" {
                let count = all |> List.sumBy (fun (_, cases) -> cases.Length)
                Expect.isGreaterThan count 220 "cases"

                for _, cases in all do
                    for case in cases do
                        Expect.isNonEmpty case.Sent case.Name
                        Expect.isNonEmpty case.Answers case.Name
            }

            for table, cases in all do
                for entry in cases do
                    case $"{table}: {entry.Name}" (fun () -> check table entry)

            case "a well-behaved caller is served afterwards" (fun () ->
                task {
                    use client = Clients.http1 kedge.Value.HttpsPort None
                    let! answer = Stage.get client "https://a.example/fine" []
                    Expect.equal (answer.Status, answer.Body) (200, "ok") "answer"
                    let requests, faults = recorder.Value.Take()
                    Expect.isEmpty faults "faults"
                    Expect.equal (requests |> List.map canonicalFault) [ None ] "the one request, in canonical form"
                })
        ]
