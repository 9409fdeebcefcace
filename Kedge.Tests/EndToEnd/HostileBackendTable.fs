/// The tables of testassets/hostile-backend as values. Their README says what the lines mean.
module Kedge.Tests.EndToEnd.HostileBackendTable

open System
open System.IO
open System.Text
open Kedge.Tests.Core
open Kedge.Tests.EndToEnd.HostileTable
open Kedge.Tests.Harness

/// What the backend does, in order.
type Act =
    /// Bytes for a stream of HTTP/2; over HTTP/1.1 the stream does not matter.
    | Send of (int -> byte array)
    | Pause of milliseconds: int

type End =
    /// The backend's side is closed.
    | Close
    /// The connection stays open for the next request.
    | Keep
    /// The connection is reset.
    | Abort
    /// The connection stays open, and nothing more comes.
    | Hang

type When =
    | AfterRequest
    /// As soon as the request's header section is there.
    | Early
    /// When the connection opens, instead of the settings of HTTP/2.
    | AtOnce

type BackendCase =
    {
        Name: string
        Acts: Act list
        End: End
        When: When
        Method: string
        /// Bytes of the request's body; 0 = none.
        Body: int
        /// Alternatives for callers over HTTP/1.1, over HTTP/2, and of gRPC; empty = the case is not for them.
        Http1: string list
        Http2: string list
        Grpc: string list
        Has: (string * string) list
        Lacks: string list
    }

let private number (width: int) (value: int64) =
    [|
        for index in width - 1 .. -1 .. 0 do
            byte (value >>> (8 * index))
    |]

let frame (kind: int) (flags: int) (stream: int) (payload: byte array) : byte array =
    Array.concat
        [
            number 3 payload.Length
            [| byte kind; byte flags |]
            number 4 stream
            payload
        ]

let private latin1 (text: string) = Encoding.Latin1.GetBytes text

/// `:status: 200 | content-type: text/plain`; nothing = no field.
let private fields (text: string) =
    if text.Trim() = "" then
        []
    else
        text.Split " | "
        |> List.ofArray
        |> List.map (fun part ->
            match part.IndexOf(": ", 1) with
            | -1 when part.StartsWith(": ", StringComparison.Ordinal) -> "", unescape (part.Substring 2)
            | -1 -> failwith $"'{part}' is no field"
            | colon -> unescape (part.Substring(0, colon).TrimStart()), unescape (part.Substring(colon + 2)))

/// A frame of HTTP/2, or raw bytes: the line after `< `.
let private parseFrame (line: string) : int -> byte array =
    let word, rest =
        match line.IndexOf ' ' with
        | -1 -> line, ""
        | space -> line.Substring(0, space), line.Substring(space + 1)

    let words = rest.Split(' ', StringSplitOptions.RemoveEmptyEntries)

    let streamOf (text: string) (own: int) =
        if text = "S" then own
        elif text.StartsWith "S" then own + int (text.Substring 1)
        else int text

    match word with
    | "headers" -> fun own -> frame 1 4 own (HeaderBlock.plain (fields rest))
    | "headers.e" -> fun own -> frame 1 5 own (HeaderBlock.plain (fields rest))
    | "headers.open" -> fun own -> frame 1 0 own (HeaderBlock.plain (fields rest))
    | "continuation" -> fun own -> frame 9 0 own (HeaderBlock.plain (fields rest))
    | "continuation.h" -> fun own -> frame 9 4 own (HeaderBlock.plain (fields rest))
    | "data" -> fun own -> frame 0 0 own (latin1 (unescape rest))
    | "data.e" -> fun own -> frame 0 1 own (latin1 (unescape rest))
    // A gRPC message with this content.
    | "message" ->
        fun own ->
            let content = latin1 (unescape rest)
            frame 0 0 own (Array.concat [ [| 0uy |]; number 4 content.Length; content ])
    | "reset" -> fun own -> frame 3 0 own (number 4 (int64 words[0]))
    | "goaway" -> fun own -> frame 7 0 0 (Array.append (number 4 (streamOf words[0] own)) (number 4 (int64 words[1])))
    | "settings" ->
        fun _ ->
            frame
                4
                0
                0
                [|
                    for pair in words do
                        let parts = pair.Split '='
                        yield! number 2 (int64 parts[0])
                        yield! number 4 (int64 parts[1])
                |]
    | "window" -> fun own -> frame 8 0 (streamOf words[0] own) (number 4 (int64 words[1]))
    // Type, flags and stream as numbers, and the payload.
    | "frame" ->
        let payload = latin1 (unescape (String.Join(' ', Array.skip 3 words)))
        fun own -> frame (int words[0]) (int words[1]) (streamOf words[2] own) payload
    | "bytes" -> fun _ -> latin1 (unescape rest)
    | other -> failwith $"'{other}' is no frame"

let private repeated (line: string) =
    match line.IndexOf "x " with
    | at when at > 0 && Seq.forall Char.IsAsciiDigit (line.Substring(0, at)) ->
        let one = parseFrame (line.Substring(at + 2))
        let count = int (line.Substring(0, at))
        fun own -> Array.concat (Array.replicate count (one own))
    | _ -> parseFrame line

let private nothing name isHttp2 =
    {
        Name = name
        Acts = []
        End = if isHttp2 then Keep else Close
        When = AfterRequest
        Method = "GET"
        Body = 0
        Http1 = []
        Http2 = []
        Grpc = []
        Has = []
        Lacks = []
    }

let private add (isHttp2: bool) (case: BackendCase) (line: string) =
    if line.StartsWith("< ", StringComparison.Ordinal) then
        let act =
            if isHttp2 then
                repeated (line.Substring 2)
            else
                let bytes = latin1 (unescape (line.Substring 2))
                fun _ -> bytes

        // Neighbouring lines are sent in one piece.
        match List.tryLast case.Acts with
        | Some(Send before) ->
            { case with
                Acts =
                    List.take (case.Acts.Length - 1) case.Acts
                    @ [ Send(fun own -> Array.append (before own) (act own)) ]
            }
        | _ ->
            { case with
                Acts = case.Acts @ [ Send act ]
            }
    else
        let key, value =
            match line.IndexOf ':' with
            | -1 -> line, ""
            | colon -> line.Substring(0, colon), line.Substring(colon + 1).Trim()

        let alternatives = value.Split('|', StringSplitOptions.TrimEntries) |> List.ofArray

        match key with
        | "pause" ->
            { case with
                Acts = case.Acts @ [ Pause(int value) ]
            }
        | "end" ->
            { case with
                End =
                    match value with
                    | "close" -> Close
                    | "keep" -> Keep
                    | "reset" -> Abort
                    | "hang" -> Hang
                    | other -> failwith $"'{other}' is no end"
            }
        | "when" ->
            { case with
                When =
                    match value with
                    | "early" -> Early
                    | "at once" -> AtOnce
                    | other -> failwith $"'{other}' is no time"
            }
        | "method" -> { case with Method = value }
        | "body" -> { case with Body = int value }
        | "http" ->
            { case with
                Http1 = alternatives
                Http2 = alternatives
            }
        | "http1" -> { case with Http1 = alternatives }
        | "http2" -> { case with Http2 = alternatives }
        | "grpc" -> { case with Grpc = alternatives }
        | "has" ->
            let colon = value.IndexOf ':'

            { case with
                Has =
                    case.Has
                    @ [ value.Substring(0, colon), unescape (value.Substring(colon + 1).Trim()) ]
            }
        | "lacks" ->
            { case with
                Lacks = case.Lacks @ [ value ]
            }
        | other -> failwith $"'{other}' is no key"

let private read (file: string) =
    let isHttp2 =
        (string (Path.GetFileNameWithoutExtension file)).StartsWith("http2", StringComparison.Ordinal)

    let folder (cases: BackendCase list) (line: string) =
        try
            if line.StartsWith("== ", StringComparison.Ordinal) then
                nothing (line.Substring 3) isHttp2 :: cases
            elif line = "" || line.StartsWith '#' then
                cases
            else
                add isHttp2 cases.Head line :: cases.Tail
        with e ->
            failwith $"{file}: '{line}': {e.Message}"

    isHttp2, File.ReadAllLines file |> Array.fold folder [] |> List.rev

/// By the name of their file; those of HTTP/2 are marked.
let all: (string * bool * BackendCase list) list =
    Directory.GetFiles(SourceTree.path "Kedge.Tests/testassets/hostile-backend", "*.txt")
    |> Array.sort
    |> Array.map (fun file ->
        let isHttp2, cases = read file
        string (Path.GetFileNameWithoutExtension file), isHttp2, cases)
    |> List.ofArray
