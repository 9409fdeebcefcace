namespace Kedge.Tests.Harness

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks

/// A record that the DNS server answers with.
type DnsRecord =
    /// A or AAAA, by the address's family. Several for one name are several addresses.
    | Address of name: string * address: string
    | Service of name: string * target: string * port: int * priority: int * weight: int

/// A real DNS server (dnsmasq) on a free port of 127.0.0.1. It answers from its records and asks nobody else.
type Dns(ttlSeconds: int) =
    let scratch = new Scratch()
    let port = Ports.free ()
    let mutable running: Process option = None

    let stop () =
        match running with
        | None -> ()
        | Some server ->
            if not server.HasExited then
                server.Kill()

            server.WaitForExit()
            server.Dispose()
            running <- None

    /// A query for a name of its own, to learn whether the server is up.
    let answers () =
        use socket =
            new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp, ReceiveTimeout = 200)

        let question =
            Array.concat
                [
                    [| 0x4Buy; 0x44uy; 1uy; 0uy; 0uy; 1uy; 0uy; 0uy; 0uy; 0uy; 0uy; 0uy |]
                    [| 5uy |]
                    Encoding.ASCII.GetBytes "ready"
                    [| 4uy |]
                    Encoding.ASCII.GetBytes "test"
                    [| 0uy; 0uy; 1uy; 0uy; 1uy |]
                ]

        try
            socket.Connect(IPEndPoint(IPAddress.Loopback, port))
            socket.Send question |> ignore
            socket.Receive(Array.zeroCreate<byte> 512) > 0
        with :? SocketException ->
            false

    let start (records: DnsRecord list) =
        task {
            let lines =
                [
                    $"port={port}"
                    "listen-address=127.0.0.1"
                    "bind-interfaces"
                    "no-resolv"
                    "no-hosts"
                    "no-poll"
                    "keep-in-foreground"
                    "user="
                    "pid-file="
                    $"local-ttl={ttlSeconds}"
                    // A name without records does not exist; names of other domains are refused.
                    "local=/test/"
                    "local=/cluster.local/"
                    "address=/ready.test/127.0.0.1"

                    let addresses =
                        records
                        |> List.choose (function
                            | Address(name, address) -> Some(name, address)
                            | Service _ -> None)

                    let hosts =
                        scratch.Write(
                            "hosts",
                            String.Join('\n', addresses |> List.map (fun (name, address) -> $"{address} {name}"))
                            + "\n"
                        )

                    $"addn-hosts={hosts}"

                    for record in records do
                        match record with
                        | Address _ -> ()
                        | Service(name, target, port, priority, weight) ->
                            $"srv-host={name},{target},{port},{priority},{weight}"
                ]

            let configuration = scratch.Write("dnsmasq.conf", String.Join('\n', lines) + "\n")

            let program =
                [ "/usr/sbin/dnsmasq"; "/usr/bin/dnsmasq" ]
                |> List.tryFind File.Exists
                |> Option.defaultWith (fun () -> failwith "dnsmasq is not installed (Debian: dnsmasq-base)")

            let info =
                ProcessStartInfo(
                    program,
                    [ $"--conf-file={configuration}" ],
                    RedirectStandardError = true,
                    UseShellExecute = false
                )

            let server = new Process(StartInfo = info)
            let complaints = StringBuilder()
            server.ErrorDataReceived.Add(fun e -> lock complaints (fun () -> complaints.AppendLine e.Data |> ignore))
            server.Start() |> ignore
            server.BeginErrorReadLine()
            running <- Some server

            do!
                eventually "dnsmasq answering" (fun () ->
                    if server.HasExited then
                        server.WaitForExit()
                        failwithf "dnsmasq ended: %s" (lock complaints (fun () -> complaints.ToString()))

                    answers ())
        }

    member _.Port = port

    /// Starts the server, or starts it again with other records.
    member _.Serve(records: DnsRecord list) : Task<unit> =
        stop ()
        start records

    /// From now on queries are answered by nobody.
    member _.Stop() = stop ()

    interface IDisposable with
        member _.Dispose() =
            stop ()
            (scratch :> IDisposable).Dispose()
