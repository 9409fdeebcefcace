/// What the tests of HTTP/2 connections to endpoints share: a server that writes what a test says.
module Kedge.Tests.Wire.Http2Stage

open System
open System.Text
open System.Threading.Tasks
open Kedge.Tests.Harness
open Kedge.Wire.Http2
open Kedge.Wire.Upstream

let text (value: string) = Encoding.Latin1.GetBytes value

/// Runs the test against a server with that script; the script may not fail.
let against settings (script: RawHttp2 -> Task) (test: int -> Task<unit>) =
    task {
        use server = new RawHttp2Server(settings, script)
        do! test server.Port

        match server.Failures with
        | [] -> ()
        | error :: _ -> raise (AggregateException("the server's script failed", error))
    }

let failed (work: Task<UpstreamResponse>) : Task<UpstreamException> =
    failure<UpstreamException> "a request" (fun () -> work :> Task)

/// The failure of reading the content.
let broken (response: UpstreamResponse) : Task<UpstreamException> =
    failure<UpstreamException> "a response" (fun () -> Client.read response :> Task)

let facts (error: UpstreamException) = error.Kind, error.Sent, Option.ofNullable error.Http2ErrorCode

let idle (connection: IUpstreamConnection) =
    eventually "the connection is idle" (fun () -> connection.ActiveStreams = 0)

/// Asks soon, and gives up soon.
let short =
    Http2Options(PingAfter = TimeSpan.FromMilliseconds 100.0, PingTimeout = TimeSpan.FromMilliseconds 400.0)

/// Asks soon, and leaves a busy machine the time to answer.
let curious =
    Http2Options(PingAfter = TimeSpan.FromMilliseconds 100.0, PingTimeout = patience)
