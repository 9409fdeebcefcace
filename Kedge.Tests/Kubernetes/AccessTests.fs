/// How kedge gets at the API server.
module Kedge.Tests.Kubernetes.AccessTests

open System
open System.IO
open Expecto
open Kedge.Host.Flags
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes

/// The options with a kubeconfig instead of the token file; the CA comes from it too, unless a URL is given.
let private withKubeConfig (user: string) (file: string) (url: Uri | null) (options: KubernetesOptions) =
    KubernetesOptions(url, options.TlsInsecure, "", "", user, file, options.AuthTimeout, options.ResolverResyncTimeout)

/// The options with these, and otherwise as they are.
let private withFiles (url: Uri | null) (insecure: bool) (ca: string) (token: string) (options: KubernetesOptions) =
    KubernetesOptions(url, insecure, ca, token, "", "", options.AuthTimeout, options.ResolverResyncTimeout)

let private kubeConfig (server: Uri) (caFile: string) (credentials: string) =
    $"""apiVersion: v1
kind: Config
current-context: other
clusters:
- name: here
  cluster:
    server: {server.AbsoluteUri}
    certificate-authority: {caFile}
- name: elsewhere
  cluster:
    server: https://127.0.0.1:1
contexts:
- name: other
  context: {{ cluster: elsewhere, user: somebody }}
- name: mine
  context: {{ cluster: here, user: operator }}
users:
- name: somebody
  user: {{ token: wrong }}
- name: operator
  user:
{credentials}
"""

/// Gets a first list with the credentials of a kubeconfig's user, whose server is that of the user's context.
let private getsIn (credentials: Scratch -> string) (token: string) =
    task {
        use scratch = new Scratch()
        let authority = Certificates.authority.Value
        let file = scratch.File "config"

        use stage =
            new ClusterStage(TimeSpan.FromMinutes 5.0, withKubeConfig "operator" file null, true)

        stage.Server.Token <- token
        File.WriteAllText(file, kubeConfig stage.Server.Url authority.File (credentials scratch))
        let sink = stage.Resolve("api.shop:http", false)
        do! eventually "the first list" (fun () -> sink.Last = Some [])
    }

let private failsWith (change: KubernetesOptions -> KubernetesOptions) (expected: string) =
    task {
        use stage = new ClusterStage(TimeSpan.FromMinutes 5.0, change, true)
        stage.Resolve("api.shop:http", false) |> ignore
        let health = stage.Watch "endpoint slices"
        do! eventually "an error" (fun () -> not (isNull health.Error))
        Expect.stringContains (string health.Error) expected "and it says what"
    }

[<Tests>]
let tests =
    testList
        "Kubernetes access"
        [
            case "a rotated token is read again" (fun () ->
                task {
                    use stage = new ClusterStage()
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    stage.Server.Token <- "second"
                    let health = stage.Watch "endpoint slices"

                    do!
                        eventually "401" (fun () ->
                            // Again and again: a watch may be on its way to the server at the first time.
                            stage.Server.Play [ DropWatches ]
                            (string health.Error).Contains "401")

                    File.WriteAllText(stage.TokenFile, "second\n")
                    stage.Server.Play [ Manifest.slice "shop" "api-1" "api" "http" 80 [ "10.0.0.1", Manifest.ready ] ]
                    do! eventually "the change" (fun () -> sink.Last = Some [ "10.0.0.1:80" ])
                })

            case "a server of another CA is not trusted" (fun () ->
                failsWith
                    (fun options ->
                        withFiles options.ApiUrl false Certificates.stranger.Value.File options.TokenFile options)
                    "its certificate is not trusted: ")

            case "an answer to nobody says that no credentials were sent" (fun () ->
                failsWith
                    (fun options -> withFiles options.ApiUrl false options.CaFile "/nonexistent/token" options)
                    "no credentials were sent")

            case "unless it need not be" (fun () ->
                task {
                    use stage =
                        new ClusterStage(
                            TimeSpan.FromMinutes 5.0,
                            (fun options ->
                                withFiles
                                    options.ApiUrl
                                    true
                                    Certificates.stranger.Value.File
                                    options.TokenFile
                                    options),
                            true
                        )

                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                })

            case "no API server is an error with a name" (fun () ->
                failsWith
                    (fun options -> withFiles null false options.CaFile options.TokenFile options)
                    "k8sclient_kubeapi_url")

            case "a kubeconfig user with a token" (fun () -> getsIn (fun _ -> "    token: secret") "secret")

            case "a kubeconfig user with a client certificate" (fun () ->
                getsIn
                    (fun _ ->
                        let client = Certificates.client.Value
                        $"    client-certificate: {client.CertFile}\n    client-key: {client.KeyFile}")
                    "nobody has this token")

            case "a kubeconfig user with a client certificate in it" (fun () ->
                getsIn
                    (fun _ ->
                        let client = Certificates.client.Value
                        let data (file: string) = Convert.ToBase64String(File.ReadAllBytes file)
                        $"    client-certificate-data: {data client.CertFile}\n    client-key-data: {data client.KeyFile}")
                    "nobody has this token")

            case "a kubeconfig user with an exec plugin" (fun () ->
                getsIn
                    (fun scratch ->
                        let credential =
                            """{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-plugin"}}"""

                        let plugin = scratch.Write("plugin", $"#!/bin/sh\necho '{credential}'\n")
                        File.SetUnixFileMode(plugin, UnixFileMode.UserRead ||| UnixFileMode.UserExecute)
                        $"    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: {plugin}\n      interactiveMode: Never")
                    "from-plugin")

            case "a user that the kubeconfig does not have is an error that names those it has" (fun () ->
                task {
                    use scratch = new Scratch()

                    let file =
                        scratch.Write("config", kubeConfig (Uri "https://127.0.0.1:1") "" "    token: x")

                    do! failsWith (withKubeConfig "nobody" file null) "somebody, operator"
                })
        ]
