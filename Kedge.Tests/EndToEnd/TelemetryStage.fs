/// A kedge whose metrics, logs and traces are looked at: a good and a dead HTTP backend, and a gRPC one whose calls are
/// counted.
module Kedge.Tests.EndToEnd.TelemetryStage

open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.Authorization
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// Its keys are fetched, and have an age then.
let private issuer = Shared.make (fun () -> new Issuer())

let private director () =
    $$"""{ "http": { "routes": [ { "name": "good", "backend_name": "well", "host_matcher": "well.example",
                                 "rate_limits": ["plenty"] },
                                { "backend_name": "dead", "host_matcher": "dead.example" },
                                { "backend_name": "busy", "host_matcher": "busy.example",
                                  "retry": { "attempts": 1, "on": ["503"] } },
                                { "name": "divided", "backends": [ { "name": "well" } ], "host_matcher": "divided.example",
                                  "split_by": { "cookie": "session" } },
                                { "name": "mirrored", "backend_name": "well", "host_matcher": "mirrored.example",
                                  "mirror": [ { "backend_name": "busy" } ] } ] },
         "grpc": { "routes": [ { "backend_name": "calls", "authority_host_matcher": "calls.example" } ] },
         "rate_limits": [ { "name": "plenty", "limit": 1000, "key": ["client_address"] } ],
         "token_issuers": [ { "name": "staff", "issuer": "{{issuer.Value.Name}}", "audiences": ["kedge"] } ] }"""

let private pool (http: HttpPeer) (grpc: GrpcPeer) =
    $$"""{ "http": { "backends": [ {{Json.backend "well" http.Port}}, {{Json.backend "dead" (Ports.free ())}},
                                   {{Json.backend "busy" http.Port}} ] },
           "grpc": { "backends": [ { "name": "calls", "interceptors": [ { "prometheus": true } ],
                                     "host": { "dns_name": "127.0.0.1", "port": {{grpc.Port}} } } ] } }"""

let start flags environment =
    task {
        let http = new HttpPeer "well"
        let grpc = new GrpcPeer "calls"

        let! kedge =
            Kedge.Start
                { Kedge.Defaults with
                    Director = director ()
                    BackendPool = pool http grpc
                    Flags = flags
                    Environment = environment
                }

        return http, grpc, kedge
    }

/// Requests of every kind: two good ones, one to a dead backend, one that no route takes, and likewise a call of each.
let exercise (kedge: Kedge) : Task<unit> =
    task {
        use client = Clients.http1 kedge.HttpsPort None

        for host in [ "well"; "well"; "dead"; "nobody" ] do
            let! _ = get client $"https://{host}.example/hidden-path?hidden=query" []
            ()

        use channel = Clients.grpc kedge.GrpcPort None "calls.example:443"
        let! _ = Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"))
        use lost = Clients.grpc kedge.GrpcPort None "lost.example:443"

        let! error =
            failure<RpcException> "no route" (fun () -> Echo.EchoClient(lost).UnaryAsync(EchoRequest()).ResponseAsync)

        Expect.equal error.StatusCode StatusCode.Unimplemented "no route"
    }
