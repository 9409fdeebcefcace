/// The name servers of /etc/resolv.conf, which change while kedge runs. A test cannot replace that file, so these use the
/// classes of the server on a file of their own.
module Kedge.Tests.EndToEnd.NameServerTests

open System
open System.Collections.Concurrent
open System.Threading
open Expecto
open Kedge.Host.Resolvers
open Kedge.Tests.Harness

type private Sink() =
    let resolved = ConcurrentQueue<string>()
    let failed = ConcurrentQueue<string>()
    member _.Resolved = resolved.ToArray()
    member _.Failed = failed.ToArray()

    interface IEndpointSink with
        member _.Resolved(endpoints, _) =
            resolved.Enqueue(String.Join(' ', endpoints |> Seq.map (fun endpoint -> string endpoint.Address)))

        member _.Missing(reason) = failed.Enqueue reason
        member _.Failed(error) = failed.Enqueue error

/// Resolves `web.test` with the name servers of a file, until disposed.
type private Stage(text: string, port: int) =
    let scratch = new Scratch()
    let file = scratch.Write("resolv.conf", text)
    let servers = new NameServers([||], file, port)
    let sink = Sink()
    let stop = new CancellationTokenSource()

    let run =
        HostResolver(DnsLookup(servers, new SemaphoreSlim 8), TimeSpan.FromSeconds 30.0, "web.test", 80us)
            .RunAsync(sink, stop.Token)

    member _.Sink = sink
    member _.Write(text: string) = scratch.Write("resolv.conf", text) |> ignore

    interface IDisposable with
        member _.Dispose() =
            stop.Cancel()
            run.ContinueWith(fun _ -> ()).Wait()
            servers.Dispose()
            (scratch :> IDisposable).Dispose()

[<Tests>]
let tests =
    testList
        "name servers"
        [
            case "a changed file is followed at once, however long the answer is valid" (fun () ->
                task {
                    use dns = new RawDns(fun _ -> Addresses(3600, [ "127.0.0.7" ]))
                    // Nobody answers at the first address.
                    use stage = new Stage("nameserver 127.0.0.9\n", dns.Port)
                    do! eventually "a failure" (fun () -> stage.Sink.Failed.Length > 0)
                    stage.Write "# corrected\nnameserver 127.0.0.1\n"
                    do! eventually "an answer" (fun () -> stage.Sink.Resolved = [| "127.0.0.7:80" |])
                    dns.Answers(fun _ -> Addresses(3600, [ "127.0.0.8" ]))
                    stage.Write "nameserver 127.0.0.1\nsearch example\n"
                    do! eventually "another answer" (fun () -> Array.contains "127.0.0.8:80" stage.Sink.Resolved)
                })

            case "without a name server the message says so, and one that is added is used" (fun () ->
                task {
                    use dns = new RawDns(fun _ -> Addresses(3600, [ "127.0.0.7" ]))
                    use stage = new Stage("search example\n", dns.Port)
                    do! eventually "a failure" (fun () -> stage.Sink.Failed.Length > 0)
                    Expect.stringContains stage.Sink.Failed[0] "web.test: no name server is known" "what"
                    Expect.stringContains stage.Sink.Failed[0] "/resolv.conf has no nameserver line" "where"
                    Expect.stringContains stage.Sink.Failed[0] "--dns_nameservers" "what helps"
                    stage.Write "nameserver 127.0.0.1\n"
                    do! eventually "an answer" (fun () -> stage.Sink.Resolved = [| "127.0.0.7:80" |])
                })
        ]
