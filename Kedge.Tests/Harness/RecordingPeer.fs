namespace Kedge.Tests.Harness

open System
open System.Collections.Concurrent
open System.IO
open System.Text
open System.Threading.Tasks

/// A request as its bytes stood on the wire, in Latin-1.
type WireRequest =
    {
        /// Without its CR LF.
        RequestLine: string
        Headers: (string * string) list
        /// Without the framing of chunks.
        Body: string
    }

    member request.Values(name: string) =
        request.Headers
        |> List.filter (fun (n, _) -> String.Equals(n, name, StringComparison.OrdinalIgnoreCase))
        |> List.map snd

/// A backend that reads HTTP/1.1 by the letter of RFC 9112 and records each request that is complete; the first byte that
/// is not by the letter is a fault. It answers every request with 200.
type RecordingPeer() =
    let received = ConcurrentQueue<WireRequest>()
    let faults = ConcurrentQueue<string>()

    let readLine (stream: Stream) =
        task {
            let line = StringBuilder()
            let one = Array.zeroCreate<byte> 1
            let mutable reading = true

            while reading do
                do! stream.ReadExactlyAsync(one.AsMemory())
                line.Append(char one[0]) |> ignore
                reading <- one[0] <> byte '\n'

            let text = line.ToString()

            if not (text.EndsWith("\r\n", StringComparison.Ordinal)) then
                faults.Enqueue $"a line that ends with a bare LF: {text}"

            return text.TrimEnd('\n').TrimEnd('\r')
        }

    let readText (stream: Stream) (length: int) =
        task {
            let bytes = Array.zeroCreate<byte> length
            do! stream.ReadExactlyAsync(bytes.AsMemory())
            return Encoding.Latin1.GetString bytes
        }

    let readChunks (stream: Stream) =
        task {
            let body = StringBuilder()
            let mutable reading = true

            while reading do
                let! size = readLine stream

                if size = "" || size |> Seq.exists (fun c -> not (Char.IsAsciiHexDigit c)) then
                    faults.Enqueue $"a chunk size that is none: '{size}'"

                let length = Convert.ToInt32(size, 16)
                let! chunk = readText stream length
                body.Append chunk |> ignore
                let! last = readLine stream

                if last <> "" then
                    faults.Enqueue $"'{last}' behind a chunk, or a trailer"

                reading <- length > 0

            return body.ToString()
        }

    let parse (head: string) =
        let lines = head.Substring(0, head.Length - 4).Split "\r\n"

        {
            RequestLine = lines[0]
            Headers =
                [
                    for line in Array.skip 1 lines do
                        match line.IndexOf ": " with
                        | -1 -> faults.Enqueue $"a header without a colon: '{line}'"
                        | colon -> line.Substring(0, colon), line.Substring(colon + 2)
                ]
            Body = ""
        }

    let serve (stream: Stream) : Task =
        task {
            let mutable reading = true

            while reading do
                let! head = RawPeer.ReadHead stream

                if head = "" then
                    reading <- false
                else
                    let request = parse head

                    let! body =
                        match request.Values "Transfer-Encoding", request.Values "Content-Length" with
                        | [], [] -> Task.FromResult ""
                        | [ "chunked" ], [] -> readChunks stream
                        | [], [ length ] -> readText stream (int length)
                        | codings, lengths ->
                            faults.Enqueue $"framing that nobody can tell: %A{codings} %A{lengths}"
                            Task.FromResult ""

                    received.Enqueue { request with Body = body }
                    do! RawPeer.Write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }

    let peer = new RawPeer(fun stream -> serve stream)

    member _.Port = peer.Port

    /// What came since the last time.
    member _.Take() : WireRequest list * string list =
        let drain (queue: ConcurrentQueue<'a>) =
            [
                let mutable item = Unchecked.defaultof<'a>

                while queue.TryDequeue &item do
                    item
            ]

        drain received, drain faults

    interface IDisposable with
        member _.Dispose() = (peer :> IDisposable).Dispose()
