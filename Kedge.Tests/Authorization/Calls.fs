/// One request, sent in each way in which kedge can be asked, and what came of it.
module Kedge.Tests.Authorization.Calls

open System
open System.Threading.Tasks
open Expecto
open Grpc.Core
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Peers

/// In the terms of HTTP and of gRPC.
type Outcome =
    | Passed
    | Refused of status: int * code: StatusCode

[<RequireQualifiedAccess>]
module Outcome =
    let unauthenticated = Refused(401, StatusCode.Unauthenticated)
    let forbidden = Refused(403, StatusCode.PermissionDenied)
    let unavailable = Refused(503, StatusCode.Unavailable)

/// The files of a server with `host` as an HTTP and a gRPC route, for each of these hosts with its `authorization`.
let configuration (http: HttpPeer) (grpc: GrpcPeer) (routes: (string * string) list) =
    let rules (hostField: string) =
        [
            for host, authorization in routes do
                $$"""{ "backend_name": "only", "{{hostField}}": "{{host}}", "authorization": {{authorization}} }"""
        ]

    Json.director (rules "host_matcher") (rules "authority_host_matcher"),
    Json.pool [ Json.backend "only" http.Port ] [ Json.backend "only" grpc.Port ]

let start (http: HttpPeer) (grpc: GrpcPeer) routes (flags: string list) : Task<Kedge> =
    let director, pool = configuration http grpc routes
    Kedge.Start(director, pool, flags)

let private bearer (token: string) =
    if token = "" then
        []
    else
        [ "Proxy-Authorization", $"Bearer {token}" ]

let private http client (host: string) headers (expected: Outcome) (words: string) what =
    task {
        let! answer = get client $"https://{host}/authorization" headers

        Secrets.look what (answer.Body + string answer.Message)

        match expected with
        | Passed -> Expect.equal answer.Status 200 $"{what}: {answer.Body}"
        | Refused(status, _) ->
            Expect.equal answer.Status status $"{what}: {answer.Body}"
            Expect.stringContains (answer.Header "X-Kedge-Error") words what

            Expect.equal
                (answer.Header "WWW-Authenticate")
                (if status = 401 then "Bearer realm=\"kedge\"" else "")
                $"{what}: challenge"
    }

let private grpc (port: int) identity (host: string) (headers: (string * string) list) expected (words: string) what =
    task {
        use channel = Clients.grpc port identity $"{host}:443"
        let metadata = Metadata()

        for name, value in headers do
            metadata.Add(name.ToLowerInvariant(), value)

        let call () =
            Echo.EchoClient(channel).UnaryAsync(EchoRequest(Text = "x"), metadata).ResponseAsync

        match expected with
        | Passed ->
            let! reply = call ()
            Expect.equal reply.Text "x" what
        | Refused(_, code) ->
            let! error = failure<RpcException> what (fun () -> call ())
            Secrets.look what $"{error.Status.Detail} {error.Trailers}"
            Expect.equal error.StatusCode code $"{what}: {error.Status.Detail}"
            Expect.stringContains error.Status.Detail words what
    }

/// Sends a request with these headers over HTTP/1.1, over HTTP/2, and as gRPC to both ports. All must come to the same,
/// a refusal with these words in its reason.
let sendWith (kedge: Kedge) identity host headers expected (words: string) (what: string) : Task<unit> =
    task {
        use http1 = Clients.http1 kedge.HttpsPort identity
        use http2 = Clients.http2 kedge.HttpsPort identity
        do! http http1 host headers expected words $"{what}, HTTP/1.1"
        do! http http2 host headers expected words $"{what}, HTTP/2"
        do! grpc kedge.GrpcPort identity host headers expected words $"{what}, gRPC port"
        do! grpc kedge.HttpsPort identity host headers expected words $"{what}, gRPC on the HTTPS port"
    }

/// As `sendWith`, with a token only (none when it is empty) and without a client certificate.
let send (kedge: Kedge) host (token: string) expected words what =
    sendWith kedge None host (bearer token) expected words what

/// Over HTTP/1.1 alone: the status.
let status (kedge: Kedge) (host: string) (token: string) : Task<int> =
    task {
        use client = Clients.http1 kedge.HttpsPort None
        let! answer = get client $"https://{host}/authorization" (bearer token)
        return answer.Status
    }

/// How many requests of any kind reached the backends.
let reached (http: HttpPeer) (grpc: GrpcPeer) = http.Received.Length + grpc.Calls.Length

/// No part of a secret of some length is in what the server said.
let isNotIn (kedge: Kedge) (secrets: string seq) =
    let output = kedge.Program.Output

    for secret in secrets do
        for part in secret.Split('.', StringSplitOptions.RemoveEmptyEntries) do
            if part.Length >= 12 then
                Expect.isFalse (output.Contains(part, StringComparison.Ordinal)) "a token is in the log"
