namespace Kedge.Client.Tests.Winch

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks

/// A company's proxy: takes CONNECT and requests in absolute form from those who show its credentials. All names that
/// begin with `kedge` are on this machine for it; it answers requests in absolute form itself.
type ForwardProxy(user: string, password: string) =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    let asked = ConcurrentQueue<string>()

    let expected =
        "Proxy-Authorization: Basic "
        + Convert.ToBase64String(Encoding.UTF8.GetBytes $"{user}:{password}")

    let rec readHead (stream: Stream) (head: StringBuilder) : Task<string> =
        task {
            let one = Array.zeroCreate<byte> 1
            let! read = stream.ReadAsync(one.AsMemory())

            if read = 0 then
                return ""
            else
                let head = head.Append(char one[0])

                if head.Length >= 4 && head.ToString(head.Length - 4, 4) = "\r\n\r\n" then
                    return string head
                else
                    return! readHead stream head
        }

    let say (stream: Stream) (text: string) = stream.WriteAsync(Encoding.ASCII.GetBytes text)

    let tunnel (client: Stream) (target: string) =
        task {
            let colon = target.LastIndexOf ':'
            let host, port = target.Substring(0, colon), int (target.Substring(colon + 1))

            if host.StartsWith("kedge", StringComparison.Ordinal) then
                use server = new TcpClient()
                do! server.ConnectAsync(IPAddress.Loopback, port)
                use server = server.GetStream()
                do! say client "HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\n"
                let! _ = Task.WhenAny(client.CopyToAsync server, server.CopyToAsync client)
                ()
            else
                do! say client "HTTP/1.1 403 Forbidden by policy\r\nContent-Length: 0\r\n\r\n"
        }

    let serve (client: TcpClient) =
        task {
            use client = client
            use stream = client.GetStream()
            let! head = readHead stream (StringBuilder())
            let words = head.Split ' '

            if words.Length > 2 then
                asked.Enqueue($"{words[0]} {words[1]}")

                if not (head.Contains(expected, StringComparison.OrdinalIgnoreCase)) then
                    do! say stream "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
                elif words[0] = "CONNECT" then
                    do! tunnel stream words[1]
                else
                    do! say stream "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nby the proxy"
        }

    let rec accept () : Task<unit> =
        task {
            let! client = listener.AcceptTcpClientAsync()

            Task.Run(fun () ->
                task {
                    try
                        do! serve client
                    with
                    | :? IOException
                    | :? SocketException -> ()
                }
                :> Task)
            |> ignore

            return! accept ()
        }

    let accepting =
        listener.Start()

        task {
            try
                do! accept ()
            with
            | :? SocketException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()
        }

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port

    /// Its URL, with these credentials.
    member proxy.Url(name: string, word: string) = $"http://{name}:{word}@127.0.0.1:{proxy.Port}"

    /// Method and target of each request.
    member _.Asked = asked.ToArray()

    interface IDisposable with
        member _.Dispose() =
            listener.Dispose()
            accepting.GetAwaiter().GetResult()
