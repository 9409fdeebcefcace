/// TLS below the server, against the runtime's client, in memory.
module Kedge.Tests.Wire.TlsServerTests

open System
open System.Buffers
open System.Diagnostics
open System.IO
open System.IO.Pipelines
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Security.Authentication
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness
open Kedge.Tests.Wire.LoopTests
open Kedge.Wire.Sockets
open Kedge.Wire.Tls
open Kedge.Wire.Transport

/// Of a task without a result.
let private ends (what: string) (work: Task) : Task<unit> = within what (task { do! work })

let private identity (key: string) : X509Certificate2 =
    let request =
        match key with
        | "RSA" -> CertificateRequest("CN=server", RSA.Create 2048, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
        | _ -> CertificateRequest("CN=server", ECDsa.Create ECCurve.NamedCurves.nistP256, HashAlgorithmName.SHA256)

    let now = DateTimeOffset.UtcNow
    request.CreateSelfSigned(now.AddDays -1.0, now.AddDays 1.0)

let private ecdsa = lazy identity "ECDSA"
let private protocols = [| "h2"; "http/1.1" |]

let private context (certificate: X509Certificate2) =
    match TlsServerContext.Create(certificate, [], false, protocols) with
    | null -> failtest "a context"
    | context -> context

/// Counts what is charged.
type private Account() =
    let mutable held = 0L
    member _.Held = Interlocked.Read &held

    interface IMemoryAccount with
        member _.Add bytes = Interlocked.Add(&held, bytes) |> ignore

type private Loop() =
    interface IEventLoopFeature with
        member val ContinuesOnPool = true with get, set

type private Ends(input: PipeReader, output: PipeWriter) =
    interface IDuplexPipe with
        member _.Input = input
        member _.Output = output

/// A stream that reads from one stream and writes to another.
type private Duplex(input: Stream, output: Stream) =
    inherit Stream()
    override _.CanRead = true
    override _.CanWrite = true
    override _.CanSeek = false
    override _.Length = raise (NotSupportedException())

    override _.Position
        with get () = raise (NotSupportedException())
        and set _ = raise (NotSupportedException())

    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())
    override _.Flush() = output.Flush()
    override _.Read(buffer: byte array, offset, count) = input.Read(buffer, offset, count)
    override _.Write(buffer: byte array, offset, count) = output.Write(buffer, offset, count)
    override _.FlushAsync cancel = output.FlushAsync cancel
    override _.ReadAsync(buffer: Memory<byte>, cancel) = input.ReadAsync(buffer, cancel)

    override _.WriteAsync(buffer: ReadOnlyMemory<byte>, cancel) = output.WriteAsync(buffer, cancel)

/// The two directions between a client and the server.
type private Wire() =
    let options = PipeOptions(pauseWriterThreshold = 0L)
    member val ToServer = Pipe options
    member val ToClient = Pipe options
    member wire.Transport: IDuplexPipe = Ends(wire.ToServer.Reader, wire.ToClient.Writer)

    member wire.ClientStream: Stream =
        new Duplex(wire.ToClient.Reader.AsStream(), wire.ToServer.Writer.AsStream())

let private clientOptions (version: SslProtocols) =
    SslClientAuthenticationOptions(
        TargetHost = "shop.example",
        EnabledSslProtocols = version,
        ApplicationProtocols = ResizeArray [ SslApplicationProtocol.Http11 ],
        RemoteCertificateValidationCallback = (fun _ _ _ _ -> true)
    )

let private accept (context: TlsServerContext) (wire: Wire) (account: IMemoryAccount | null) =
    task {
        let! name = TlsServer.ReadNameAsync(wire.Transport.Input, CancellationToken.None)

        let! tls =
            TlsServer.AcceptAsync(context, wire.Transport, account, null, CancellationToken.None)

        return name, tls
    }

let private connectWith
    (options: SslClientAuthenticationOptions)
    (certificate: X509Certificate2)
    (account: IMemoryAccount | null)
    =
    task {
        let wire = Wire()
        use context = context certificate
        let accepting = accept context wire account
        let client = new SslStream(wire.ClientStream)
        do! ends "the client's handshake" (client.AuthenticateAsClientAsync options)
        let! name, tls = within "the server's handshake" accepting
        return wire, client, name, tls
    }

let private connect (account: IMemoryAccount | null) = connectWith (clientOptions SslProtocols.None) ecdsa.Value account

let private bytes (text: string) = Encoding.ASCII.GetBytes text

let private read (tls: TlsServer) = within "a read" (tls.Input.ReadAsync().AsTask())

let private noise (seed: int) (length: int) =
    let content = Array.zeroCreate<byte> length
    Random(seed).NextBytes content
    content

/// Sends back what it gets, in pieces of random sizes, until the client ends its direction.
let private echo (seed: int) (tls: TlsServer) : Task<unit> =
    task {
        let random = Random seed
        let mutable reading = true

        while reading do
            let! result = read tls
            let buffer = result.Buffer

            let consumed =
                if random.Next 4 = 0 then
                    buffer.Length / 2L
                else
                    buffer.Length

            let mutable left = buffer.Slice(0L, consumed).ToArray().AsMemory()

            while left.Length > 0 do
                let piece = left.Slice(0, min left.Length (random.Next(1, 40_000)))
                left <- left.Slice piece.Length

                match random.Next 3 with
                | 0 ->
                    let! _ = tls.Output.WriteAsync piece
                    ()
                | 1 -> tls.Output.Write piece.Span
                | _ ->
                    piece.CopyTo(tls.Output.GetMemory piece.Length)
                    tls.Output.Advance piece.Length

            let! _ = tls.Output.FlushAsync()
            let position = buffer.GetPosition consumed
            // What was looked at and left must not keep the reader from continuing.
            tls.Input.AdvanceTo(position, position)
            reading <- not (result.IsCompleted && consumed = buffer.Length)

        do! tls.ShutdownAsync()
    }

let private exchange (options: SslClientAuthenticationOptions) (certificate: X509Certificate2) (length: int) =
    task {
        let account = Account()
        let! _, client, name, tls = connectWith options certificate account
        Expect.equal name "shop.example" "the name"
        Expect.equal tls.ApplicationProtocol "http/1.1" "the protocol"
        Expect.equal tls.Protocol client.SslProtocol "the version"
        Expect.equal tls.CipherSuite client.NegotiatedCipherSuite "the suite"
        let sent = noise length length
        let echoing = echo length tls

        let sending: Task<unit> =
            task {
                let random = Random length
                let mutable start = 0

                while start < sent.Length do
                    let count = min (random.Next(1, 50_000)) (sent.Length - start)
                    do! client.WriteAsync(sent.AsMemory(start, count))
                    start <- start + count

                do! client.ShutdownAsync()
            }

        use received = new MemoryStream()
        do! ends "the answer" (client.CopyToAsync received)
        do! within "the sender" sending
        do! within "the server" echoing
        Expect.isTrue (received.ToArray().AsSpan().SequenceEqual sent) "the same bytes"
        Expect.equal account.Held 0L "charged at the end"
        tls.Dispose()
    }

let private failure (handshake: Task<string * TlsServer>) : Task<exn> =
    task {
        try
            let! _ = within "the handshake" handshake
            return failtest "it succeeded"
        with e ->
            return e
    }

/// What a client sees when it begins with these bytes: what the server says, and what it throws.
let private begins (first: byte array) =
    task {
        let wire = Wire()
        use context = context ecdsa.Value
        let accepting = accept context wire null
        let! _ = wire.ToServer.Writer.WriteAsync(first.AsMemory())
        let! e = failure accepting
        return e
    }

[<Tests>]
let tests =
    testList
        "TLS of event loops"
        [
            for version in [ SslProtocols.Tls12; SslProtocols.Tls13 ] do
                for key in [ "RSA"; "ECDSA" ] do
                    case $"{version}, {key}: bytes of any amounts, in any pieces, there and back" (fun () ->
                        task {
                            let certificate = identity key

                            for length in [ 0; 1; 100; 16_384; 16_385; 3_000_000 ] do
                                do! exchange (clientOptions version) certificate length
                        })

            case "a large answer leaves in records of the largest size" (fun () ->
                task {
                    let! wire, client, _, tls = connect null
                    let content = noise 1 (256 * 1024)
                    // The tickets are sent along with it.
                    let! _ = tls.Output.WriteAsync(content.AsMemory())
                    let! raw = wire.ToClient.Reader.ReadAsync()
                    let overhead = raw.Buffer.Length - int64 content.Length
                    wire.ToClient.Reader.AdvanceTo raw.Buffer.Start
                    Expect.isLessThan overhead (16L * 22L + 1024L) "overhead of 16 records"
                    let received = Array.zeroCreate<byte> content.Length
                    do! ends "the answer" (client.ReadExactlyAsync(received.AsMemory()).AsTask())
                    Expect.isTrue (received.AsSpan().SequenceEqual content) "the same bytes"
                    tls.Dispose()
                })

            case "a reader that consumes nothing gets more each time, and what it holds is charged" (fun () ->
                task {
                    let account = Account()
                    let! _, client, _, tls = connect account
                    let sent = noise 5 (500 * 1024)
                    let sending = client.WriteAsync(sent.AsMemory()).AsTask()
                    let mutable seen = 0L

                    while seen < sent.LongLength do
                        let! result = read tls
                        Expect.isGreaterThan result.Buffer.Length seen "more than before"
                        seen <- result.Buffer.Length

                        if seen = sent.LongLength then
                            Expect.isTrue (result.Buffer.ToArray().AsSpan().SequenceEqual sent) "all of it"

                        tls.Input.AdvanceTo(result.Buffer.Start, result.Buffer.End)
                        Expect.equal account.Held seen "charged"

                    do! ends "the client" sending
                    let! _ = client.WriteAsync((bytes "!").AsMemory()).AsTask() |> ends "one more"
                    let! last = read tls
                    tls.Input.AdvanceTo last.Buffer.End
                    Expect.equal account.Held 0L "given back"
                    tls.Dispose()
                })

            case "a client that closes without close_notify has ended" (fun () ->
                task {
                    let! wire, client, _, tls = connect null
                    do! client.WriteAsync((bytes "last words").AsMemory())
                    do! wire.ToServer.Writer.CompleteAsync()
                    let! words = read tls
                    Expect.equal (Encoding.ASCII.GetString(words.Buffer.ToArray())) "last words" "before the end"
                    tls.Input.AdvanceTo words.Buffer.End
                    let! ending = read tls
                    Expect.isTrue ending.IsCompleted "ended"
                    Expect.equal ending.Buffer.Length 0L "nothing more"
                    tls.Dispose()
                })

            case
                "a changed record fails the connection: an alert for the client, an exception for the server"
                (fun () ->
                    task {
                        let! wire, client, _, tls = connect null
                        // As if it were a record of the client.
                        let! _ =
                            wire.ToServer.Writer.WriteAsync(
                                (Array.append [| 23uy; 3uy; 3uy; 0uy; 32uy |] (noise 2 32)).AsMemory()
                            )

                        let! failed =
                            task {
                                try
                                    let! _ = read tls
                                    return None
                                with :? IOException as e ->
                                    return Some e.Message
                            }

                        Expect.equal
                            failed
                            (Some "the TLS connection failed: decryption failed or bad record mac")
                            "what the server gets"

                        let! after = tls.Output.WriteAsync((bytes "ignored").AsMemory())
                        Expect.isTrue after.IsCompleted "nothing is written after it"
                        do! tls.ShutdownAsync()

                        let! alert =
                            task {
                                try
                                    let! _ = client.ReadAsync((Array.zeroCreate<byte> 10).AsMemory())
                                    return None
                                with :? IOException as e ->
                                    return Some(string e)
                            }

                        Expect.stringContains (defaultArg alert "nothing") "alert" "what the client gets"
                        tls.Dispose()
                    })

            case
                "what TLS 1.3 leaves after the server's signature continues on the loop, TLS 1.2 on the pool"
                (fun () ->
                    task {
                        for version, continuesOnPool in [ SslProtocols.Tls13, false; SslProtocols.Tls12, true ] do
                            let wire = Wire()
                            use context = context ecdsa.Value
                            let loop: IEventLoopFeature = Loop()

                            let accepting =
                                TlsServer
                                    .AcceptAsync(context, wire.Transport, null, loop, CancellationToken.None)
                                    .AsTask()

                            Expect.isTrue loop.ContinuesOnPool "before the client's first message"
                            use client = new SslStream(wire.ClientStream)
                            do! ends "the client's handshake" (client.AuthenticateAsClientAsync(clientOptions version))
                            let! tls = within "the server's handshake" accepting
                            Expect.equal loop.ContinuesOnPool continuesOnPool $"{version}"
                            tls.Dispose()
                    })

            case "bytes that are not TLS, and versions that are too old, fail with the reason" (fun () ->
                task {
                    let! http = begins (bytes "GET / HTTP/1.1\r\n\r\n")
                    Expect.equal http.Message "the first bytes are not the frame of a TLS handshake" "HTTP"
                    // A record that promises more than a record may have, and one that repeats nothing for ever.
                    let! long = begins [| 22uy; 3uy; 1uy; 0xffuy; 0xffuy |]
                    Expect.equal long.Message http.Message "too long"

                    let! endless =
                        begins (
                            Array.append
                                [| 22uy; 3uy; 1uy; 0uy; 4uy; 1uy; 0uy; 0x7fuy; 0xffuy |]
                                (Array.concat (Array.create 9_000 [| 22uy; 3uy; 1uy; 0uy; 1uy; 0uy |]))
                        )

                    Expect.equal endless.Message http.Message "without end"
                    // A whole message, of which nothing is right: TLS's own alert.
                    let! malformed = begins [| 22uy; 3uy; 1uy; 0uy; 5uy; 1uy; 0uy; 0uy; 1uy; 0uy |]
                    Expect.isTrue (malformed :? AuthenticationException) (string malformed)
                })

            case "no protocol in common: an alert for the client" (fun () ->
                task {
                    let wire = Wire()
                    use context = context ecdsa.Value
                    let accepting = accept context wire null
                    use client = new SslStream(wire.ClientStream)
                    let options = clientOptions SslProtocols.None
                    options.ApplicationProtocols <- ResizeArray [ SslApplicationProtocol "smtp" ]
                    let connecting = client.AuthenticateAsClientAsync options
                    let! e = failure accepting
                    Expect.equal e.Message "no application protocol" "the server's reason"

                    let! alert =
                        task {
                            try
                                do! ends "the alert" connecting
                                return ""
                            with e ->
                                return string e
                        }

                    Expect.stringContains alert "alert no application protocol" "the client's"
                })

            case "TLS 1.2 is rejected where only 1.3 is on" (fun () ->
                task {
                    let wire = Wire()

                    use context =
                        TlsServerContext.Create(ecdsa.Value, [], true, protocols)
                        |> Option.ofObj
                        |> Option.get

                    let accepting = accept context wire null
                    use client = new SslStream(wire.ClientStream)
                    let connecting = client.AuthenticateAsClientAsync(clientOptions SslProtocols.Tls12)
                    let! e = failure accepting
                    Expect.equal e.Message "unsupported protocol" "the reason"
                    let! _ = Task.WhenAny(connecting, Task.Delay 5000)
                    Expect.isTrue connecting.IsFaulted "the client has failed"
                })

            case "a client that goes away during the handshake, and one that takes too long" (fun () ->
                task {
                    let wire = Wire()
                    use context = context ecdsa.Value
                    let accepting = accept context wire null
                    let! _ = wire.ToServer.Writer.WriteAsync([| 22uy; 3uy; 1uy; 2uy |].AsMemory())
                    do! wire.ToServer.Writer.CompleteAsync()
                    let! e = failure accepting
                    Expect.equal e.Message "the client closed the connection during the handshake" "gone"

                    let slow = Wire()
                    use limit = new CancellationTokenSource(100)

                    let! canceled =
                        task {
                            try
                                let reading = TlsServer.ReadNameAsync(slow.Transport.Input, limit.Token)
                                let! name = within "the end of the wait" (reading.AsTask())
                                return name
                            with :? OperationCanceledException ->
                                return "canceled"
                        }

                    Expect.equal canceled "canceled" "not in time"
                })

            case "a client that asks for answers without end, and takes none, is closed" (fun () ->
                task {
                    use listener = new TcpListener(IPAddress.Loopback, 0)
                    listener.Start()
                    let port = (listener.LocalEndpoint :?> IPEndPoint).Port

                    use client =
                        new Process(
                            StartInfo =
                                ProcessStartInfo(
                                    "openssl",
                                    [ "s_client"; "-connect"; $"127.0.0.1:{port}"; "-tls1_3" ],
                                    RedirectStandardInput = true,
                                    RedirectStandardOutput = true,
                                    RedirectStandardError = true
                                )
                        )

                    client.Start() |> ignore
                    client.BeginOutputReadLine()
                    client.BeginErrorReadLine()
                    use! socket = within "the client" (listener.AcceptSocketAsync())
                    use stream = new NetworkStream(socket)
                    let transport = Ends(PipeReader.Create stream, PipeWriter.Create stream)
                    use context = context ecdsa.Value

                    let! tls =
                        TlsServer.AcceptAsync(context, transport, null, null, CancellationToken.None).AsTask()
                        |> within "the handshake"

                    let reading =
                        task {
                            try
                                while true do
                                    let! result = tls.Input.ReadAsync()
                                    tls.Input.AdvanceTo result.Buffer.End

                                return "no end"
                            with :? IOException as e ->
                                return e.Message
                        }

                    // `K` asks for a key update, which the server must answer; data in between keep the library from
                    // taking offence at so many. Each answer has 27 bytes.
                    let mutable rounds = 0

                    while not reading.IsCompleted && rounds < 3_000 do
                        for input in [ "K\n"; "data" ] do
                            if not reading.IsCompleted then
                                try
                                    client.StandardInput.Write input
                                    client.StandardInput.Flush()
                                with :? IOException ->
                                    ()

                                do! Task.Delay 2

                        rounds <- rounds + 1

                    let! reason = within "the end of the connection" reading

                    Expect.containsAll
                        [
                            "the TLS connection failed: too many messages that want an answer"
                            "the TLS connection failed: too many key updates"
                        ]
                        [ reason ]
                        "the reason"

                    client.Kill()
                    tls.Dispose()
                })

            case "after dispose, reads find the end and writes are ignored, whoever is still using it" (fun () ->
                task {
                    for round in 1..20 do
                        let! wire, client, _, tls = connect null

                        let writing =
                            Task.Run(
                                Func<Task>(fun () ->
                                    task {
                                        let mutable isOpen = true

                                        while isOpen do
                                            let! result = tls.Output.WriteAsync((noise 3 5_000).AsMemory())
                                            isOpen <- not result.IsCompleted
                                    })
                            )

                        let reading =
                            Task.Run(
                                Func<Task>(fun () ->
                                    task {
                                        let mutable isOpen = true

                                        while isOpen do
                                            try
                                                let! result = tls.Input.ReadAsync()
                                                tls.Input.AdvanceTo result.Buffer.End
                                                isOpen <- not result.IsCompleted
                                            with :? InvalidOperationException ->
                                                isOpen <- false
                                    })
                            )

                        let sending =
                            Task.Run(
                                Func<Task>(fun () ->
                                    task {
                                        for _ in 1..50 do
                                            do! client.WriteAsync((noise 4 3_000).AsMemory())
                                    })
                            )

                        do! Task.Delay(round % 5)
                        tls.Dispose()
                        do! ends "the writer" writing
                        do! ends "the client" sending
                        do! wire.ToServer.Writer.CompleteAsync()
                        do! ends "the reader" reading
                })
        ]
