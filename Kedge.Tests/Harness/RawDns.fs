namespace Kedge.Tests.Harness

open System
open System.Buffers.Binary
open System.Collections.Concurrent
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks

/// What a name server answers to one question.
type DnsReply =
    | Silence
    /// RFC 1035, 4.1.1: 2 = server failure, 3 = the name does not exist.
    | Failure of code: int
    /// Addresses of IPv4; none for questions of another type. A TTL in seconds.
    | Addresses of ttl: int * addresses: string list
    /// SRV records: port and target, which may be `.`.
    | Services of ttl: int * services: (int * string) list

/// A name server on a free port of 127.0.0.1 that answers as a test says, also in ways in which no real one does.
type RawDns(answer: string -> DnsReply) =
    let socket = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0))
    let questions = ConcurrentQueue<string>()
    let mutable answer = answer

    [<Literal>]
    let A = 1

    [<Literal>]
    let Srv = 33

    let big (value: int) = [| byte (value >>> 8); byte value |]

    let nameOf (message: byte array) =
        let name = StringBuilder()
        let mutable at = 12

        while message[at] <> 0uy do
            let length = int message[at]

            name.Append(Encoding.ASCII.GetString(message, at + 1, length)).Append '.'
            |> ignore

            at <- at + 1 + length

        name.ToString().TrimEnd('.').ToLowerInvariant(), at

    let encoded (name: string) =
        [|
            for label in name.Split('.', StringSplitOptions.RemoveEmptyEntries) do
                byte label.Length
                yield! Encoding.ASCII.GetBytes label
            0uy
        |]

    /// A record of the name in the question.
    let record (kind: int) (ttl: int) (data: byte array) =
        Array.concat
            [
                [| 0xC0uy; 12uy |]
                big kind
                big 1
                big (ttl >>> 16)
                big ttl
                big data.Length
                data
            ]

    let reply (question: byte array) (nameEnd: int) (code: int) (records: byte array list) =
        let head = Array.sub question 0 (nameEnd + 5)
        head[2] <- 0x85uy
        head[3] <- byte (0x80 + code)
        // One question, the records, nothing else.
        Array.concat [ big 1; big records.Length; big 0; big 0 ]
        |> fun counts -> counts.CopyTo(head, 4)

        Array.concat (head :: records)

    let serve: Task =
        task {
            try
                while true do
                    let! received = socket.ReceiveAsync()
                    let question = received.Buffer
                    let name, nameEnd = nameOf question

                    let kind =
                        int (BinaryPrimitives.ReadUInt16BigEndian(ReadOnlySpan(question, nameEnd + 1, 2)))

                    questions.Enqueue name

                    let bytes =
                        match answer name with
                        | Silence -> [||]
                        | Failure code -> reply question nameEnd code []
                        | Addresses(ttl, addresses) when kind = A ->
                            [
                                for address in addresses do
                                    record A ttl (IPAddress.Parse(address).GetAddressBytes())
                            ]
                            |> reply question nameEnd 0
                        | Services(ttl, services) when kind = Srv ->
                            [
                                for port, target in services do
                                    record Srv ttl (Array.concat [ big 0; big 0; big port; encoded target ])
                            ]
                            |> reply question nameEnd 0
                        | Addresses _
                        | Services _ -> reply question nameEnd 0 []

                    if bytes.Length > 0 then
                        let! _ = socket.SendAsync(bytes, bytes.Length, received.RemoteEndPoint)
                        ()
            with
            | :? SocketException
            | :? ObjectDisposedException -> ()
        }

    member _.Port = (nonNull socket.Client.LocalEndPoint :?> IPEndPoint).Port
    /// From now on.
    member _.Answers(other: string -> DnsReply) = answer <- other
    /// The names in the questions so far, one for each question.
    member _.Questions = questions.ToArray()

    interface IDisposable with
        member _.Dispose() =
            socket.Dispose()
            serve.Wait()
