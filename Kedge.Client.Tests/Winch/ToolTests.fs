/// Tools and files that users have already: kubectl, the sample files of the Go implementation, the demo's commands.
module Kedge.Client.Tests.Winch.ToolTests

open System
open System.IO
open System.Net
open System.Net.Http
open System.Runtime.InteropServices
open System.Text
open System.Threading.Tasks
open Expecto
open Kedge.Client.Domain
open Kedge.Client.Tests.Behind
open Kedge.Client.Tests.Mapping.Files
open Kedge.Client.Tests.Winch.Stage
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core

let private lines (text: string array) = String.Join('\n', text)

[<Tests>]
let tests =
    testList
        "winch, tools"
        [
            case "kubectl sends no credentials over plain HTTP, and winch adds those of the route" (fun () ->
                task {
                    use scratch = new Scratch()

                    let service (name: string) =
                        Put
                            $$"""{ "kind": "Service", "apiVersion": "v1", "spec": {},
                                   "metadata": { "namespace": "shop", "name": "{{name}}" } }"""

                    apiServer.Value.Play [ service "carts"; service "orders" ]

                    use watch =
                        new KedgeProgram(
                            Winch.Executable,
                            [
                                "exec"
                                $"--server_http_port={winch.Value.Port}"
                                "--"
                                "kubectl"
                                "--kubeconfig=/dev/null"
                                "--server=http://api.prod.test:6443"
                                "--token=of-the-user"
                                "get"
                                "services"
                                "--all-namespaces"
                                "--watch"
                                "--output=name"
                            ],
                            scratch.Path,
                            Winch.Home scratch.Path,
                            true
                        )

                    let shows (names: string list) =
                        eventually $"%A{names}" (fun () ->
                            if watch.HasExited then
                                failtest watch.Output

                            watch.Stdout = Array.ofList [ for name in names -> $"service/{name}" ])

                    do! shows [ "carts"; "orders" ]
                    do! eventually "a watch" (fun () -> apiServer.Value.Watches > 0)
                    apiServer.Value.Play [ service "stock" ]
                    do! shows [ "carts"; "orders"; "stock" ]
                    let headers = apiServer.Value.LastHeaders |> List.map fst
                    Expect.isFalse (List.contains "proxy-authorization" headers) "credentials of the kedge"
                    Expect.contains apiServer.Value.LastHeaders ("host", "api.prod.test:6443") "host and port"
                })

            case "@grpc/grpc-js by its standard proxy setting" (fun () ->
                task {
                    use scratch = new Scratch()

                    let script =
                        scratch.Write(
                            "call.js",
                            """
const grpc = require('@grpc/grpc-js');
const client = new grpc.Client('calls-only.prod.test:50051', grpc.credentials.createInsecure());
// EchoRequest and EchoReply begin with a text, field 1.
const bytes = message => message, deadline = { deadline: Date.now() + 20000 };
const call = text => new Promise((done, failed) => client.makeUnaryRequest(
    '/kedge.test.Echo/Unary', bytes, bytes, Buffer.concat([Buffer.from([10, text.length]), Buffer.from(text)]), deadline,
    (error, reply) => error ? failed(error) : done(reply.toString('latin1'))));
Promise.all(['first', 'second', 'third'].map(call)).then(
    replies => { console.log(replies.map(reply => reply.includes('calls-only.prod.test:50051')).join(' ')); client.close(); },
    error => { console.error(error.message); process.exit(1); });
"""
                        )

                    let modules = Path.Combine(Executable.root, "artifacts", "tools", "node_modules")

                    let! outcome =
                        Shell.runIn
                            scratch.Path
                            [
                                "NODE_PATH", modules
                                "http_proxy", winch.Value.Proxy
                                "grpc_proxy", winch.Value.Proxy
                                "no_proxy", ""
                            ]
                            $"node {script}"

                    Expect.equal (outcome.Code, outcome.Output) (0, "true true true\n") outcome.Errors
                })

            case "the sample files of the Go implementation, unchanged" (fun () ->
                task {
                    use scratch = new Scratch()

                    let files =
                        [
                            $"""--server_mapper_config_path={asset "original/winch_mapper.json"}"""
                            $"""--server_auth_config_path={asset "original/winch_auth.json"}"""
                        ]

                    // Templates that are nothing but a group name any server; a flag says which are meant.
                    let! code, output, _ = Winch.Run(scratch.Path, "check" :: files, [])
                    Expect.equal code 1 (lines output)

                    let! code, output, _ =
                        Winch.Run(scratch.Path, "check" :: "--allowed_kedges=localhost" :: files, [])

                    Expect.equal code 0 (lines output)

                    let! code, output, _ =
                        Winch.Run(
                            scratch.Path,
                            "explain"
                            :: "http://bearer_token_auth.localhost.internal.example.com/"
                            :: "--allowed_kedges=localhost"
                            :: files,
                            []
                        )

                    Expect.equal code 0 (lines output)
                    Expect.stringContains (lines output) "kedge: https://localhost:18171" "the kedge"
                    Expect.stringContains (lines output) "credentials of proxy-bearer-token-auth" "the credentials"
                })

            case "a stream of more than 15 s, the limit of the Go implementation, arrives whole" (fun () ->
                task {
                    let! code, answer = longStream.Value
                    let seconds = String.Join(' ', [ 0..15 ])
                    Expect.equal code 0 answer
                    Expect.stringStarts answer $"{seconds} end " "the whole stream"

                    let time =
                        Double.Parse(Array.last (answer.Split ' '), Globalization.CultureInfo.InvariantCulture)

                    Expect.isGreaterThan time 15.0 "s"
                })

            case "five hundred hosts share few connections to their kedge" (fun () ->
                task {
                    use peer = double HttpProtocols.Http1AndHttp2

                    let mapper =
                        mapper [ route "^svc-[0-9]+[.]prod[.]test$" $"https://localhost:{peer.Port}" "" ]

                    use! own = Winch.Start(mapper, "", [])

                    use client =
                        new HttpClient(
                            new SocketsHttpHandler(Proxy = WebProxy own.Proxy, MaxConnectionsPerServer = 20),
                            Timeout = patience
                        )

                    let call (number: int) =
                        task {
                            use! response = client.GetAsync $"http://svc-{number}.prod.test/many"
                            return int response.StatusCode
                        }

                    let! statuses =
                        Task.WhenAll [ for number in 1..500 -> call number ] |> within "500 calls"

                    Expect.allEqual statuses 200 "all answered"
                    let received = peer.ReceivedOn "/many"
                    let distinct (part: ReceivedRequest -> string) = (Array.distinctBy part received).Length
                    Expect.equal (distinct (_.Header("Host"))) 500 "own names"
                    Expect.isLessThanOrEqual (connections peer) 8 "connections"
                })

            case "the commands that the demo prints work when pasted" (fun () ->
                task {
                    use scratch = new Scratch()

                    use demo =
                        new KedgeProgram(
                            Winch.Executable,
                            [
                                "demo"
                                $"--server_http_port={Ports.free ()}"
                                $"--server_grpc_port={Ports.free ()}"
                            ],
                            scratch.Path,
                            Winch.Home scratch.Path,
                            true
                        )

                    do!
                        eventually "the last line of the guide" (fun () ->
                            Expect.isFalse demo.HasExited demo.Output
                            demo.Stdout |> Array.exists _.Contains("Ctrl-C"))

                    let commands = demo.Stdout |> Array.map _.Trim() |> Array.filter _.Contains("curl ")

                    Expect.equal commands.Length 7 "commands"
                    let outputs = ResizeArray<string>()

                    for line in commands do
                        let! outcome = Shell.run $"set -o pipefail; {line}"
                        Expect.equal outcome.Code 0 $"{line}\n{outcome.Output}\n{outcome.Errors}"
                        outputs.Add outcome.Output

                    for index, part in
                        [
                            0, "demo_http"
                            1, "demo_http"
                            2, "data: "
                            3, "Hello Kedge"
                            4, "no-route"
                            5, "FindProxyForURL"
                            6, "<h1>winch</h1>"
                        ] do
                        Expect.stringContains outputs[index] part commands[index]

                    demo.Signal PosixSignal.SIGINT
                    let! code = demo.Exit()
                    Expect.equal code 0 demo.Output
                })

            test "the flags that docs/winch.md gives winch exist" {
                let text = File.ReadAllText(Path.Combine(Executable.root, "docs", "winch.md"))
                let task = Winch.Run(Executable.root, [ "--help" ], [])
                let _, help, _ = task.GetAwaiter().GetResult()

                let named =
                    [
                        for found in RegularExpressions.Regex.Matches(text, @"`winch (--[a-z_]+)") do
                            found.Groups[1].Value
                    ]

                Expect.isGreaterThan named.Length 8 "flags are named"

                for flag in named do
                    Expect.stringContains (lines help) $"  {flag}" flag
            }

            test "the files that docs/winch.md shows are valid" {
                let text = File.ReadAllText(Path.Combine(Executable.root, "docs", "winch.md"))

                let block (field: string) =
                    text.Split "```\n"
                    |> Array.filter (fun part -> part.StartsWith('{') && part.Contains $"\"{field}\"")
                    |> Array.exactlyOne

                let loaded = load MapperOptions.Default (block "routes") (block "auth_sources")
                Expect.equal (List.ofSeq loaded.Errors) [] "errors"
            }
        ]
