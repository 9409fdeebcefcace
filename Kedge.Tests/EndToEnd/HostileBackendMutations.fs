/// Answers from the tables of hostile backends, mutated and cut. What callers get of them is held to a reader of its own.
module Kedge.Tests.EndToEnd.HostileBackendMutations

open System
open System.Text
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.EndToEnd.HostileBackendCalls
open Kedge.Tests.EndToEnd.HostileBackendPeer
open Kedge.Tests.EndToEnd.HostileBackendTable
open Kedge.Tests.Harness

/// What is to become of an answer over HTTP/1.1, by the letter of RFC 9112.
type private Verdict =
    /// Its head is malformed, or never ends.
    | NoAnswer
    /// The head is sound; the body does not reach its end.
    | CutBody of status: int
    | Whole of status: int * body: string

let private token = @"[!#$%&'*+.^_`|~0-9A-Za-z-]+"

let private statusLine =
    Regex(@"\AHTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?\z")

let private fieldLine = Regex($@"\A({token}):([^\x00-\x08\x0a-\x1f\x7f]*)\z")

let private chunkLine =
    Regex(@"\A([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\z")

/// The text up to the next CRLF, and what comes after; none when there is none, or a bare LF before it.
let private line (text: string) (at: int) =
    match text.IndexOf('\n', at) with
    | -1 -> None
    | stop when stop > at && text[stop - 1] = '\r' -> Some(text.Substring(at, stop - 1 - at), stop + 1)
    | _ -> None

let rec private fields (text: string) (at: int) (before: (string * string) list) =
    match line text at with
    | None -> None
    | Some("", next) -> Some(List.rev before, next)
    | Some(one, next) ->
        let found = fieldLine.Match one

        if found.Success then
            fields
                text
                next
                ((found.Groups[1].Value.ToLowerInvariant(), found.Groups[2].Value.Trim(' ', '\t'))
                 :: before)
        else
            None

let rec private chunks (text: string) (at: int) (body: StringBuilder) =
    match line text at with
    | None -> None
    | Some(size, next) ->
        let found = chunkLine.Match size

        if not found.Success then
            None
        else
            let length = Convert.ToInt64(found.Groups[1].Value, 16)

            if length = 0L then
                fields text next [] |> Option.map (fun _ -> body.ToString())
            elif int64 next + length + 2L > int64 text.Length then
                None
            else
                let stop = next + int length

                if text.Substring(stop, 2) = "\r\n" then
                    chunks text (stop + 2) (body.Append(text, next, int length))
                else
                    None

let rec private judge (text: string) (at: int) : Verdict =
    let head =
        line text at
        |> Option.bind (fun (first, next) ->
            let found = statusLine.Match first

            if found.Success then
                fields text next []
                |> Option.map (fun (fields, next) -> found.Groups[1].Value, int found.Groups[2].Value, fields, next)
            else
                None)

    match head with
    | None -> NoAnswer
    | Some(_, 101, _, _) -> NoAnswer
    | Some(_, status, _, next) when status < 200 -> judge text next
    | Some(version, status, fields, next) ->
        let values name = fields |> List.filter (fun (n, _) -> n = name) |> List.map snd
        let rest = text.Substring next

        match values "transfer-encoding", values "content-length" with
        | coding :: others, lengths when
            not (others.IsEmpty && lengths.IsEmpty && version = "1")
            || not (coding.Equals("chunked", StringComparison.OrdinalIgnoreCase))
            ->
            NoAnswer
        | _, _ :: _ :: _ -> NoAnswer
        | _, [ length ] when not (Regex.IsMatch(length, @"\A[0-9]{1,18}\z")) -> NoAnswer
        | _ when status = 204 || status = 205 || status = 304 -> Whole(status, "")
        | [ _ ], _ ->
            match chunks text next (StringBuilder()) with
            | Some body -> Whole(status, body)
            | None -> CutBody status
        | _, [ length ] when int64 length <= int64 rest.Length -> Whole(status, rest.Substring(0, int length))
        | _, [ _ ] -> CutBody status
        | _ -> Whole(status, rest)

let private pieces =
    [|
        "\r\n"
        "\n"
        "\r"
        " "
        ":"
        "\000"
        "0"
        "5"
        "-"
        ";a"
        "Content-Length: 3\r\n"
        "Transfer-Encoding: chunked\r\n"
        "HTTP/1.1 200 OK\r\n"
        "HTTP/1.1 103 X\r\n\r\n"
        "\127"
        "\255"
    |]

let private mutate (random: Random) (bytes: byte array) : byte array =
    let mutable bytes = bytes

    for _ in 1 .. random.Next(1, 4) do
        if bytes.Length > 0 then
            let at = random.Next bytes.Length
            let length = min (bytes.Length - at) (random.Next(1, 12))

            bytes <-
                match random.Next 6 with
                | 0 -> Array.truncate at bytes
                | 1 -> Array.mapi (fun index value -> if index = at then byte (random.Next 256) else value) bytes
                | 2 ->
                    Array.mapi
                        (fun index value ->
                            if index = at then
                                value ^^^ (1uy <<< random.Next 8)
                            else
                                value)
                        bytes
                | 3 -> Array.append (Array.truncate at bytes) (Array.skip (at + length) bytes)
                | 4 -> Array.append (Array.truncate (at + length) bytes) (Array.skip at bytes)
                | _ ->
                    Array.concat
                        [
                            Array.truncate at bytes
                            Encoding.Latin1.GetBytes pieces[random.Next pieces.Length]
                            Array.skip at bytes
                        ]

    bytes

let private sentBy (case: BackendCase) (own: int) =
    case.Acts
    |> List.map (function
        | Send bytes -> bytes own
        | Pause _ -> [||])
    |> Array.concat

/// The answers of the tables that are small enough, in one piece each.
let private answers (wantsHttp2: bool) =
    [|
        for _, isHttp2, cases in all do
            if isHttp2 = wantsHttp2 then
                for case in cases do
                    if
                        case.When = AfterRequest
                        && case.Method = "GET"
                        && case.Body = 0
                        && case.End <> Hang
                    then
                        let length = (sentBy case 1).Length

                        if length > 0 && length < 4096 then
                            case
    |]

let private number (name: string) (fallback: int) =
    match Environment.GetEnvironmentVariable name with
    | null
    | "" -> fallback
    | text -> int text

let private count = number "KEDGE_MUTATED_ANSWERS" 1500
let private seed = number "KEDGE_MUTATION_SEED" 1

let private kedge =
    Shared.make (fun () ->
        Kedge
            .Start(
                Json.directorWithAdhoc
                    []
                    []
                    [
                        """{ "dns_name_matcher": "127.0.0.1", "port": { "allowed_ranges": [{ "from": 1, "to": 65535 }] } }"""
                    ],
                Json.pool [] [],
                [ "--adhoc_allow_loopback" ]
            )
            .GetAwaiter()
            .GetResult())

/// Runs the numbers from 0 to `count` on a few workers, each with a backend of its own.
let private work (isHttp2: bool) (body: HostilePeer -> int -> Task<unit>) =
    task {
        let next = [| -1 |]

        let worker () =
            task {
                use peer = new HostilePeer(isHttp2, isHttp2, None)
                let mutable index = Interlocked.Increment &next[0]

                while index < count do
                    do! body peer index
                    index <- Interlocked.Increment &next[0]
            }

        let! _ = Task.WhenAll [ for _ in 1..6 -> Task.Run<unit> worker ]
        Expect.isFalse kedge.Value.Program.HasExited kedge.Value.Program.Output
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "mutated answers"
        [
            testTheory
                "the reader of answers knows what is sound"
                [
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay", Whole(200, "ok")
                    "HTTP/1.1 103 X\r\n\r\nHTTP/1.0 404 \r\n\r\nok", Whole(404, "ok")
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\nX: y\r\n\r\n",
                    Whole(200, "ok")
                    "HTTP/1.1 205 OK\r\nContent-Length: 2\r\n\r\nok", Whole(205, "")
                    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", CutBody 200
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\n", CutBody 200
                    "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", NoAnswer
                    "HTTP/1.1 200 OK\r\nX : y\r\n\r\nok", NoAnswer
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", NoAnswer
                    "", NoAnswer
                ]
            <| fun (text, expected) -> Expect.equal (judge text 0) expected text

            case
                "over HTTP/1.1, nothing malformed passes, what is sound is whole, and the next request is right"
                (fun () ->
                    task {
                        let answers = answers false
                        // Whole, malformed.
                        let counts = [| 0; 0 |]
                        use http2 = Clients.http2 kedge.Value.HttpsPort None

                        do!
                            work false (fun peer index ->
                                task {
                                    let random = Random(seed * 1_000_003 + index)
                                    let source = answers[random.Next answers.Length]
                                    let bytes = mutate random (sentBy source 0)
                                    let isReset = random.Next 8 = 0

                                    peer.Arm
                                        { source with
                                            Acts = [ Send(fun _ -> bytes) ]
                                            End = if isReset then Abort else Close
                                        }

                                    let host = $"127.0.0.1:{peer.Port}"
                                    use http1 = new Http1Caller(kedge.Value.HttpsPort)

                                    let call () =
                                        if index % 4 = 0 then
                                            http1.Call("GET", host, 0)
                                        else
                                            callHttp2 http2 "GET" host 0

                                    let! outcome = call ()
                                    peer.Disarm()
                                    let text = Encoding.Latin1.GetString bytes
                                    let verdict = judge text 0

                                    let isRight =
                                        outcome.Text = "502"
                                        || match verdict with
                                           | NoAnswer -> false
                                           | CutBody status -> outcome.Text = $"{status} cut"
                                           | Whole(status, body) ->
                                               outcome.Text =
                                                   (if body.Length > 60 then
                                                        $"{status} {body.Length} bytes"
                                                    else
                                                        $"{status} {body}".TrimEnd())
                                               || (isReset && outcome.Text = $"{status} cut")

                                    if not isRight then
                                        failtestf
                                            "seed %d, number %d (%s): %s, but the answer is %A: %A"
                                            seed
                                            index
                                            source.Name
                                            outcome.Text
                                            verdict
                                            text

                                    match verdict with
                                    | Whole _ when outcome.Text <> "502" -> Interlocked.Increment &counts[0] |> ignore
                                    | NoAnswer -> Interlocked.Increment &counts[1] |> ignore
                                    | _ -> ()

                                    let! next = call ()

                                    Expect.equal
                                        next.Text
                                        "200 fine"
                                        $"seed {seed}, number {index}: the request after"
                                })

                        Expect.isGreaterThan counts[0] (count / 20) "answers that passed whole"
                        Expect.isGreaterThan counts[1] (count / 5) "answers that were malformed"
                    })

            case "over HTTP/2, calls end, never as the caller's own cancellation, and later ones are right" (fun () ->
                task {
                    let answers = answers true
                    let unavailable = [| 0 |]
                    use client = Clients.http2 kedge.Value.GrpcPort None

                    do!
                        work true (fun peer index ->
                            task {
                                let number = seed * 1_000_003 + index
                                let source = answers[Random(number).Next answers.Length]

                                peer.Arm
                                    { source with
                                        Acts = [ Send(fun own -> mutate (Random(number + 7)) (sentBy source own)) ]
                                        End = if index % 8 = 0 then Abort else Close
                                    }

                                let host = $"127.0.0.1:{peer.Port}"
                                let! outcome = callGrpc client host
                                peer.Disarm()
                                let what = $"seed {seed}, number {index} ({source.Name})"

                                if outcome.Text = "Unavailable" then
                                    Interlocked.Increment &unavailable[0] |> ignore

                                if
                                    outcome.Text = "reset 8"
                                    || outcome.Text = "closed"
                                    || outcome.Text = "Cancelled"
                                then
                                    failtestf "%s: %s" what outcome.Text

                                let! next = callGrpc client host

                                // The connection may close while the call is on it: nobody knows then whether it was
                                // processed, so it is not sent again.
                                let! next =
                                    if next.Text = "Unavailable" then
                                        callGrpc client host
                                    else
                                        task { return next }

                                Expect.equal next.Text "OK" $"{what}: the calls after"
                            })

                    Expect.isGreaterThan unavailable[0] (count / 5) "calls that failed"
                })
        ]
