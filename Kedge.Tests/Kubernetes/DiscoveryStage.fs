namespace Kedge.Tests.Kubernetes

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Grpc.Core
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// What became of a request.
type Outcome =
    {
        Status: int
        Body: string
        /// The `X-Kedge-Error-Type` header; empty when it is the backend's own answer.
        Error: string
    }

/// An API server and the flags by which a `kedge` program finds it.
type ApiServer(startsAtOnce: bool) =
    let scratch = new Scratch()
    let token = scratch.Write("token", "first\n")
    let authority = Certificates.authority.Value
    let server = new ApiServerDouble(authority.Server(), Token = "first")

    do
        if startsAtOnce then
            server.Start()

    new() = new ApiServer(true)

    member _.Double = server
    member _.Play(script: Happening list) = server.Play script

    /// The token that callers need from now on, and the file that has it.
    member _.RotateToken(next: string) =
        server.Token <- next
        File.WriteAllText(token, next + "\n")

    /// Flags of every command that looks at the cluster.
    member _.Flags =
        [
            $"--k8sclient_kubeapi_url={server.Url}"
            $"--k8sclient_ca_file={authority.File}"
            $"--k8sclient_token_file={token}"
        ]

    member this.DiscoveryFlags =
        [
            yield! this.Flags
            "--kedge_dynamic_routings_enabled"
            "--discovery_external_domain_suffix=ext.example.com"
        ]

    interface IDisposable with
        member _.Dispose() =
            (server :> IDisposable).Dispose()
            (scratch :> IDisposable).Dispose()

/// Requests that are sent all the time, a few at once, until it is disposed.
type LightLoad(send: unit -> Task<string>) =
    let stop = new CancellationTokenSource()
    let failures = ConcurrentQueue<string>()
    let mutable good = 0

    let worker () =
        task {
            while not stop.IsCancellationRequested do
                match! send () with
                | "" -> Interlocked.Increment &good |> ignore
                | failure -> failures.Enqueue failure

                do! Task.Delay 20
        }

    let workers = [| for _ in 1..2 -> Task.Run<unit>(worker) |]

    /// Ends it; what went wrong, and how many requests went well.
    member _.Finish() =
        task {
            stop.Cancel()
            let! _ = Task.WhenAll workers
            return List.ofSeq failures, good
        }

    interface IDisposable with
        member _.Dispose() = stop.Cancel()

[<AutoOpen>]
module DiscoverySteps =

    /// How long a change of the cluster may take to be in force, on a busy machine.
    let change = TimeSpan.FromSeconds 10.0

    /// How long after the API server is back everything must be right, on a busy machine.
    let recovery = TimeSpan.FromSeconds 12.0

    /// How many times these watches have been begun again; the lowest count of them.
    let restarts (kedge: Kedge) (watches: string list) : Task<float> =
        task {
            let mutable least = infinity

            for watch in watches do
                let! count = DebugPort.metric kedge "kedge_watch_restarts_total" [ "watch", watch ]
                least <- min least count

            return least
        }

    /// The watches of a server with discovery.
    let bothWatches = [ "exposed services"; "endpoint slices" ]

    let fetch (client: HttpClient) (authority: string) : Task<Outcome> =
        task {
            use! response = client.GetAsync $"https://{authority}/"
            let! body = response.Content.ReadAsStringAsync()

            return
                {
                    Status = int response.StatusCode
                    Body = body
                    Error = Clients.header "X-Kedge-Error-Type" response
                }
        }

    let isFrom (peer: HttpPeer) (outcome: Outcome) = outcome.Status = 200 && outcome.Body = peer.Name
    let isError status error (outcome: Outcome) = outcome.Status = status && outcome.Error = error

    /// The name of the backend that answers a call, or the status.
    let call (client: Echo.EchoClient) : Task<string> =
        task {
            try
                let! reply = client.UnaryAsync(EchoRequest(Text = "hi"))
                return reply.Backend
            with :? RpcException as error ->
                return string error.StatusCode
        }

    /// A service with one port whose target is the port of a peer, and one ready endpoint.
    let pod (space: string) (name: string) (portName: string) (port: int) (target: int) =
        [
            Manifest.exposed space name [ portName, port, string target ]
            Manifest.slice space $"{name}-1" name portName target [ "127.0.0.1", Manifest.ready ]
        ]

    /// As `pod`, with a host of its own and an age.
    let claim (host: string) (created: string) (name: string) (target: int) =
        let service =
            Manifest.serviceWith
                "\"kedge.com/kedge-exposed\":\"true\""
                $"\"kedge.com/host-matcher\":\"{host}\""
                "default"
                name
                [ "http", 80, string target ]

        let aged =
            match service with
            | Put json -> Put(json.Replace("\"metadata\":{", $"\"metadata\":{{\"creationTimestamp\":\"{created}\","))
            | other -> other

        [
            aged
            Manifest.slice "default" $"{name}-1" name "http" target [ "127.0.0.1", Manifest.ready ]
        ]

    /// The notices of the status page, `kind subject text`.
    let notices (kedge: Kedge) : Task<string list> =
        task {
            let! status = DebugPort.json kedge "/debug/status"

            return
                [
                    for notice in status.GetProperty("notices").EnumerateArray() -> notice.ToString()
                ]
        }
