/// Callers of hostile backends, and what they get, in the words of the tables.
module Kedge.Tests.EndToEnd.HostileBackendCalls

open System
open System.IO
open System.Net.Http
open System.Text
open System.Threading
open System.Threading.Tasks
open Kedge.Tests.EndToEnd.HostileBackendTable
open Kedge.Tests.EndToEnd.HostileBackendPeer
open Kedge.Tests.Harness

/// What a caller got, and the headers with it.
type Outcome =
    {
        /// `200 text`, `200 cut`, `502`, `closed`, `reset 2`, `UNAVAILABLE`.
        Text: string
        Headers: (string * string) list
    }

let private outcome text headers = { Text = text; Headers = headers }

/// Long bodies are not written out.
let private bodyText (body: string) = if body.Length <= 60 then body else $"{body.Length} bytes"

/// An answer of kedge itself is its status alone, with its type when that is not the status' usual one.
let private describe (status: int) (body: string) (isWhole: bool) (headers: (string * string) list) =
    let errorType =
        headers
        |> List.tryFind (fun (name, _) -> String.Equals(name, "X-Kedge-Error-Type", StringComparison.OrdinalIgnoreCase))
        |> Option.map snd

    let text =
        match errorType, status with
        | Some "transport-unknown-error", 502
        | Some "transport-timeout", 504 -> string status
        | Some other, _ -> $"{status} {other}"
        | None, _ when not isWhole -> $"{status} cut"
        | None, _ -> $"{status} {bodyText body}".TrimEnd()

    outcome text headers

/// A caller that reads HTTP/1.1 by the letter of RFC 9112.
type Http1Caller(port: int) =
    let mutable client: RawClient option = None

    let close () =
        client |> Option.iter (fun client -> (client :> IDisposable).Dispose())
        client <- None

    let readLine (stream: Stream) =
        task {
            let line = StringBuilder()
            let one = Array.zeroCreate<byte> 1
            let mutable reading = true

            while reading do
                let! count = stream.ReadAsync(one.AsMemory())

                if count = 0 then
                    raise (EndOfStreamException())

                line.Append(char one[0]) |> ignore
                reading <- one[0] <> byte '\n'

            let text = line.ToString()

            if not (text.EndsWith("\r\n", StringComparison.Ordinal)) then
                failwith $"a line that ends with a bare LF: {text}"

            return text.Substring(0, text.Length - 2)
        }

    let readFields (stream: Stream) =
        task {
            let fields = ResizeArray()
            let mutable reading = true

            while reading do
                let! line = readLine stream

                if line = "" then
                    reading <- false
                else
                    let colon = line.IndexOf ':'
                    fields.Add(line.Substring(0, colon), line.Substring(colon + 1).Trim())

            return List.ofSeq fields
        }

    let rec readHead (stream: Stream) =
        task {
            let! line = readLine stream

            if not (line.StartsWith("HTTP/1.1 ", StringComparison.Ordinal)) then
                failwith $"'{line}' is no status line"

            let! fields = readFields stream
            let status = int (line.Substring(9, 3))

            if status >= 100 && status < 200 && status <> 101 then
                return! readHead stream
            else
                return status, fields
        }

    /// The body as far as it came, whether that is all, and whether the connection can be used again.
    let readBody (stream: Stream) (hasNone: bool) (fields: (string * string) list) =
        task {
            let value name =
                fields
                |> List.filter (fun (n, _) -> String.Equals(n, name, StringComparison.OrdinalIgnoreCase))
                |> List.map snd

            let body = StringBuilder()
            let mutable isWhole = false

            let take (length: int) =
                task {
                    let buffer = Array.zeroCreate<byte>(min length 65536)
                    let mutable left = length

                    while left > 0 do
                        let! count = stream.ReadAsync(buffer.AsMemory(0, min left buffer.Length))

                        if count = 0 then
                            raise (EndOfStreamException())

                        body.Append(Encoding.Latin1.GetString(buffer, 0, count)) |> ignore
                        left <- left - count
                }

            try
                match value "Transfer-Encoding", value "Content-Length" with
                | _ when hasNone -> isWhole <- true
                | [ "chunked" ], [] ->
                    let mutable reading = true

                    while reading do
                        let! size = readLine stream
                        let length = Convert.ToInt32(size, 16)
                        do! take length

                        if length = 0 then
                            let! _ = readFields stream
                            reading <- false
                        else
                            let! last = readLine stream

                            if last <> "" then
                                failwith $"'{last}' behind a chunk"

                    isWhole <- true
                | [], [ length ] ->
                    do! take (int length)
                    isWhole <- true
                | [], [] -> failwith "an answer whose end nobody can find"
                | codings, lengths -> failwith $"framing that nobody can tell: %A{codings} %A{lengths}"
            with
            | :? EndOfStreamException
            | :? IOException -> ()

            return body.ToString(), isWhole, isWhole && value "Connection" |> List.contains "close" |> not
        }

    let call (method: string) (host: string) (length: int) =
        task {
            let! connected =
                match client with
                | Some known -> Task.FromResult known
                | None -> RawClient.Connect port

            client <- Some connected
            let stream = connected.Stream

            let framing = if length > 0 then $"Content-Length: {length}\r\n" else ""

            let mutable sending = Task.CompletedTask

            try
                do! connected.Write $"{method} /x HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n"

                if length > 0 then
                    // The answer may come before the request has gone.
                    sending <-
                        Task.Run<unit>(fun () ->
                            task {
                                try
                                    do! stream.WriteAsync((Array.zeroCreate<byte> length).AsMemory())
                                with
                                | :? IOException
                                | :? ObjectDisposedException
                                | :? InvalidOperationException -> ()
                            })

                let! status, fields = readHead stream
                let hasNone = method = "HEAD" || status = 204 || status = 304
                let! body, isWhole, isReusable = readBody stream hasNone fields

                if not isReusable then close () else do! sending

                return describe status body isWhole fields
            with
            | :? EndOfStreamException
            | :? IOException ->
                close ()
                return outcome "closed" []
        }

    member _.Call(method: string, host: string, length: int) : Task<Outcome> =
        (call method host length).WaitAsync patience

    interface IDisposable with
        member _.Dispose() = close ()

let private allHeaders (response: HttpResponseMessage) =
    [
        for header in Seq.append response.Headers response.Content.Headers do
            for value in header.Value do
                header.Key, value
    ]

let rec private http2Code (e: exn) =
    match e with
    | :? HttpProtocolException as protocol -> Some protocol.ErrorCode
    | _ ->
        match e.InnerException with
        | null -> None
        | inner -> http2Code inner

let private brokenOff (e: exn) =
    match http2Code e with
    | Some code -> $"reset {code}"
    | None -> "closed"

let private isBreak (e: exn) =
    match e with
    | :? HttpRequestException
    | :? IOException -> true
    | _ -> false

/// Over HTTP/2.
let callHttp2 (client: HttpClient) (method: string) (host: string) (length: int) : Task<Outcome> =
    task {
        use request =
            new HttpRequestMessage(
                HttpMethod method,
                $"https://{host}/x",
                Version = client.DefaultRequestVersion,
                VersionPolicy = client.DefaultVersionPolicy
            )

        if length > 0 then
            request.Content <- new ByteArrayContent(Array.zeroCreate<byte> length)

        use limit = new CancellationTokenSource(patience)

        try
            use! response =
                client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token)

            let headers = allHeaders response

            try
                let! body = response.Content.ReadAsByteArrayAsync limit.Token
                return describe (int response.StatusCode) (Encoding.Latin1.GetString body) true headers
            with e when isBreak e ->
                return describe (int response.StatusCode) "" false headers
        with e when isBreak e ->
            return outcome (brokenOff e) []
    }

/// A gRPC call with one empty message; yields the name of its status, or how it was broken off.
let callGrpc (client: HttpClient) (host: string) : Task<Outcome> =
    task {
        use request = Clients.emptyCall $"https://{host}/hostile.Service/Method"
        use limit = new CancellationTokenSource(patience)

        let statusIn (headers: Headers.HttpHeaders) =
            match headers.TryGetValues "grpc-status" with
            | true, values ->
                match Int32.TryParse(Seq.head (nonNull values)) with
                | true, code -> Some(string (enum<Grpc.Core.StatusCode> code))
                | _ -> Some "no number"
            | _ -> None

        try
            use! response =
                client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token)

            let headers = allHeaders response

            try
                let! _ = response.Content.ReadAsByteArrayAsync limit.Token

                let status =
                    statusIn response.Headers
                    |> Option.orElse (statusIn response.TrailingHeaders)
                    |> Option.defaultValue "no status"

                return outcome status headers
            with e when isBreak e ->
                return outcome (brokenOff e) headers
        with e when isBreak e ->
            return outcome (brokenOff e) []
    }
