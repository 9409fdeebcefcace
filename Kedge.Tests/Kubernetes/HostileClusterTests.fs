/// API servers, and ways to them, that behave as real ones did.
module Kedge.Tests.Kubernetes.HostileClusterTests

open System
open System.IO
open Expecto
open Microsoft.AspNetCore.Server.Kestrel.Core
open Kedge.Tests.Harness
open Kedge.Tests.Kubernetes

let private web addresses =
    Manifest.slice "shop" "api-1" "api" "http" 80 [ for a in addresses -> a, Manifest.ready ]

/// The row of a watch on the status page.
let private watchRow (kedge: Kedge) (watch: string) () =
    task {
        let! status = DebugPort.json kedge "/debug/status"

        return
            status.GetProperty("dependencies").EnumerateArray()
            |> Seq.map string
            |> Seq.tryFind (fun row -> row.Contains $"watch of {watch}")
            |> Option.defaultValue ""
    }

[<Tests>]
let connections =
    testList
        "a hostile cluster: connections"
        [
            case "an API server that speaks HTTP/2 alone" (fun () ->
                task {
                    use stage = new ClusterStage(TimeSpan.FromMinutes 5.0, id, false)
                    stage.Server.Protocols <- HttpProtocols.Http2
                    stage.Server.Start()
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    stage.Server.Play [ web [ "10.0.0.1" ] ]
                    do! eventually "a change" (fun () -> sink.Last = Some [ "10.0.0.1:80" ])
                })

            case "an API server that hangs is noticed, and what it missed is in force when it is back" (fun () ->
                task {
                    use peer = new HttpPeer "web"
                    use api = new ApiServer()
                    use road = new FrozenRoad(api.Double.Port)
                    api.Play(pod "default" "web" "http" 80 peer.Port)

                    use! kedge =
                        Kedge.Start(
                            "{}",
                            "{}",
                            [
                                for flag in api.DiscoveryFlags do
                                    if not (flag.StartsWith("--k8sclient_kubeapi_url", StringComparison.Ordinal)) then
                                        flag
                                $"--k8sclient_kubeapi_url={road.Url}"
                            ]
                        )

                    use client = Clients.http1 kedge.HttpsPort None
                    do! soon change "live" (watchRow kedge "exposed services") (fun row -> row.Contains "live")
                    road.Freeze()

                    do!
                        soon patience "the page no longer says live" (watchRow kedge "exposed services") (fun row ->
                            row.Contains "failing")

                    let! up = DebugPort.metric kedge "kedge_watch_up" [ "watch", "exposed services" ]
                    Expect.equal up 0.0 "the metric"
                    let! served = fetch client "web.ext.example.com"
                    Expect.isTrue (isFrom peer served) $"the last known state: %A{served}"
                    api.Play(pod "default" "later" "http" 80 peer.Port)
                    road.Thaw()

                    do! soon patience "what was missed" (fun () -> fetch client "later.ext.example.com") (isFrom peer)
                })

            case "a watch that says nothing ages on the page, and is begun again on another connection" (fun () ->
                task {
                    use api = new ApiServer()

                    use! kedge =
                        Kedge.Start(
                            "{}",
                            "{}",
                            [
                                yield! api.DiscoveryFlags
                                "--discovery_resync_timeout=3s"
                                "--k8sresolver_resync_timeout=30s"
                            ]
                        )

                    let row = watchRow kedge "exposed services"
                    do! eventually "both watches are up" (fun () -> api.Double.Watches = 2)
                    api.Play [ SilenceWatches ]
                    do! soon patience "it is silent" row (fun row -> row.Contains "silent")
                    do! soon patience "it is live again" row (fun row -> row.Contains "live")
                    let! count = restarts kedge [ "exposed services" ]
                    Expect.isGreaterThanOrEqual count 1.0 "restarts"
                })

            case "after 410 everything is listed at once, whatever the waits before were" (fun () ->
                task {
                    use stage = new ClusterStage()
                    stage.Server.Gone <- HttpStatus
                    stage.Server.RetryAfterGone <- 25
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    do! eventually "the watch is up" (fun () -> stage.Server.Watches = 1)
                    stage.Server.Play [ Compact; DropWatches; web [ "10.0.0.1" ] ]

                    let look () = task { return sink.Last }
                    do! soon (TimeSpan.FromSeconds 10.0) "the change" look ((=) (Some [ "10.0.0.1:80" ]))
                })

            case "but not again and again" (fun () ->
                task {
                    use stage = new ClusterStage(TimeSpan.FromMinutes 5.0, id, true)
                    stage.Server.IsForgetful <- true
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])

                    do!
                        Absence.during (TimeSpan.FromSeconds 2.0) "a flood of lists" (fun () ->
                            task { return stage.Server.Lists "EndpointSlice" > 30 })
                })

            case "an event of more than 8 MiB restarts the watch, and the list has what it said" (fun () ->
                task {
                    use stage = new ClusterStage()
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    do! eventually "the watch is up" (fun () -> stage.Server.Watches = 1)

                    let huge =
                        match web [ "10.0.0.1" ] with
                        | Put json ->
                            let filler = String('x', 9 <<< 20)

                            Put(
                                json.Replace(
                                    "\"labels\":{",
                                    $"\"annotations\":{{\"filler\":\"{filler}\"}},\"labels\":{{"
                                )
                            )
                        | other -> other

                    let restarts = (stage.Watch "endpoint slices").Restarts
                    stage.Server.Play [ huge ]
                    do! eventually "the change" (fun () -> sink.Last = Some [ "10.0.0.1:80" ])
                    Expect.isGreaterThan (stage.Watch "endpoint slices").Restarts restarts "restarts"
                    Expect.equal (stage.Server.Lists "EndpointSlice") 2 "by another list"
                })

            case "a burst of changes makes log lines of a bounded length" (fun () ->
                task {
                    use api = new ApiServer()
                    use! kedge = Kedge.Start("{}", "{}", api.DiscoveryFlags)

                    api.Play
                        [
                            for i in 1..60 do
                                Manifest.exposed "default" $"service-with-a-long-name-{i}" [ "http", 80, "8080" ]
                        ]

                    do!
                        eventually "the configuration is logged" (fun () ->
                            kedge.Program.Stderr
                            |> Array.exists (fun line ->
                                line.Contains "active (discovery)" && line.Contains "service-with-a-long-name"))

                    for line in kedge.Program.Stderr do
                        Expect.isLessThan line.Length 2000 line
                })
        ]

let private kubeConfig (server: Uri) (user: string) =
    $"""apiVersion: v1
kind: Config
current-context: mine
clusters:
- name: here
  cluster: {{ server: "{server.AbsoluteUri}", certificate-authority: "{Certificates.authority.Value.File}" }}
contexts:
- name: mine
  context: {{ cluster: here, user: operator }}
users:
- name: operator
  user:
{user}
"""

/// A stage whose access is the kubeconfig's user `operator`, and the file, which is to be written.
let private withUser (timeout: float) =
    let scratch = new Scratch()
    let file = scratch.File "config"

    let stage =
        new ClusterStage(
            TimeSpan.FromMinutes 5.0,
            (fun options ->
                Kedge.Host.Flags.KubernetesOptions(
                    null,
                    false,
                    "",
                    "",
                    "operator",
                    file,
                    TimeSpan.FromSeconds timeout,
                    options.ResolverResyncTimeout
                )),
            true
        )

    stage, scratch, fun (user: string) -> File.WriteAllText(file, kubeConfig stage.Server.Url user)

let private certificate (identity: Identity) =
    $"    client-certificate: {identity.CertFile}\n    client-key: {identity.KeyFile}"

/// An executable script next to the kubeconfig.
let private script (scratch: Scratch) (name: string) (lines: string) =
    let file = scratch.Write(name, "#!/bin/sh\n" + lines + "\n")
    File.SetUnixFileMode(file, UnixFileMode.UserRead ||| UnixFileMode.UserExecute)
    file

/// Status of a credential with the token that the server takes.
let private fromPlugin = "\"token\":\"from-plugin\""

let private credential (status: string) =
    $"""{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{{status}}}}}"""

let private plugin (command: string) (more: string) =
    $"    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: {command}\n      interactiveMode: IfAvailable\n{more}"

let private linesOf (scratch: Scratch) (name: string) =
    let file = scratch.File name
    if File.Exists file then File.ReadAllLines file else [||]

/// The error of the watch of slices.
let private error (stage: ClusterStage) = string (stage.Watch "endpoint slices").Error

[<Tests>]
let credentials =
    testList
        "a hostile cluster: credentials"
        [
            case "a replaced client certificate is used, on a connection of its own" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch
                    let authority = Certificates.authority.Value
                    write (certificate (authority.Client "first"))
                    stage.Server.CertifiedSubject <- "CN=first"
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    do! eventually "the watch is up" (fun () -> stage.Server.Watches = 1)
                    stage.Server.CertifiedSubject <- "CN=second"
                    stage.Server.Play [ EndWatches; web [ "10.0.0.1" ] ]
                    do! eventually "the old one is rejected" (fun () -> (error stage).Contains "401")
                    write (certificate (authority.Client "second"))
                    do! eventually "the change" (fun () -> sink.Last = Some [ "10.0.0.1:80" ])
                })

            case "a plugin runs once, as the contract says" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch
                    stage.Server.Token <- "from-plugin"
                    let runs = scratch.File "runs"

                    let answer = credential fromPlugin

                    script scratch "plugin.sh" $"echo \"$KUBERNETES_EXEC_INFO\" >> {runs}\ncat\necho '{answer}'"
                    |> ignore

                    // Relative paths begin at the kubeconfig.
                    write (plugin "./plugin.sh" "      provideClusterInfo: true")
                    let sink = stage.Resolve("api.shop:http", false)
                    stage.Discover() |> ignore
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    do! eventually "both watches are up" (fun () -> stage.Server.Watches = 2)
                    let info = linesOf scratch "runs"
                    Expect.hasLength info 1 "runs"
                    use request = Text.Json.JsonDocument.Parse info[0]
                    let root = request.RootElement
                    Expect.equal (string (root.GetProperty "kind")) "ExecCredential" "kind"

                    Expect.equal (string (root.GetProperty "apiVersion")) "client.authentication.k8s.io/v1" "version"

                    let spec = root.GetProperty "spec"
                    Expect.isFalse (spec.GetProperty("interactive").GetBoolean()) "there is no terminal"

                    Expect.equal
                        (Uri(string (spec.GetProperty("cluster").GetProperty "server")))
                        stage.Server.Url
                        "the cluster"
                })

            case "a plugin that hangs is killed with its children, and does not pile up" (fun () ->
                task {
                    let stage, scratch, write = withUser 0.5
                    use scratch = scratch
                    let mark = $"100{Random.Shared.Next(1000, 9999)}"
                    let runs = scratch.File "runs"
                    let file = script scratch "plugin.sh" $"echo run >> {runs}\nsleep {mark}\necho done"
                    write (plugin file "")
                    stage.Resolve("api.shop:http", false) |> ignore
                    stage.Discover() |> ignore
                    do! eventually "the reason" (fun () -> (error stage).Contains "was killed")
                    Expect.stringContains (error stage) "plugin.sh" "which one"
                    do! eventually "three runs" (fun () -> (linesOf scratch "runs").Length >= 3)

                    let sleeping () =
                        Directory.GetDirectories "/proc"
                        |> Seq.filter (fun folder ->
                            try
                                File.ReadAllText(Path.Combine(folder, "cmdline")).Contains $"sleep\000{mark}"
                            with
                            | :? IOException
                            | :? UnauthorizedAccessException -> false)
                        |> Seq.length

                    Expect.isLessThanOrEqual (sleeping ()) 1 "processes at one time"
                    (stage :> IDisposable).Dispose()
                    do! eventually "none is left" (fun () -> sleeping () = 0)
                })

            case "a plugin that fails is reported with its exit code and standard error, in one short line" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch

                    let file =
                        script
                            scratch
                            "plugin.sh"
                            "echo 'session expired,' >&2\necho 'log in again' >&2\nyes 'more of it' | head -5000 >&2\nexit 3"

                    write (plugin file "")
                    stage.Resolve("api.shop:http", false) |> ignore
                    do! eventually "the reason" (fun () -> (error stage).Contains "exit code 3")
                    Expect.stringContains (error stage) "session expired, log in again more" "standard error"
                    Expect.isFalse ((error stage).Contains '\n') "one line"
                    Expect.isLessThan (error stage).Length 700 "a short one"
                })

            case "a plugin that prints something else is reported, without what it printed" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch
                    write (plugin (script scratch "plugin.sh" "echo a-secret-token") "")
                    stage.Resolve("api.shop:http", false) |> ignore
                    do! eventually "the reason" (fun () -> (error stage).Contains "not JSON")
                    Expect.isFalse ((error stage).Contains "a-secret-token") "what it printed"
                    let empty = credential "\"token\":\"\""
                    write (plugin (script scratch "other.sh" $"echo '{empty}'") "")

                    do!
                        eventually "no token" (fun () ->
                            (error stage).Contains "neither a token nor a client certificate")

                    write (plugin "there-is-no-such-plugin" "      installHint: see the handbook")
                    do! eventually "no program" (fun () -> (error stage).Contains "see the handbook")
                })

            case "credentials of a plugin that expire are replaced in time" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch
                    stage.Server.Token <- "from-plugin"
                    let past = DateTimeOffset.UtcNow.AddSeconds(-1.0).ToString "yyyy-MM-ddTHH:mm:ssZ"

                    let expiry = $",\"expirationTimestamp\":\"{past}\""
                    let answer = credential (fromPlugin + expiry)
                    let runs = scratch.File "runs"
                    let file = script scratch "plugin.sh" $"echo run >> {runs}\necho '{answer}'"

                    write (plugin file "")
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    do! eventually "the watch is up" (fun () -> stage.Server.Watches = 1)
                    Expect.isGreaterThanOrEqual (linesOf scratch "runs").Length 2 "runs: one for each request"
                })

            case "a user that acts as another says so to the API server" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch
                    stage.Server.Token <- "secret"

                    write
                        "    token: secret\n    as: viewer\n    as-uid: u-1\n    as-groups: [ one ]\n    as-user-extra: { reason: [ audit ] }"

                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])

                    for header in
                        [
                            "impersonate-user", "viewer"
                            "impersonate-uid", "u-1"
                            "impersonate-group", "one"
                            "impersonate-extra-reason", "audit"
                        ] do
                        Expect.contains stage.Server.LastHeaders header "header"
                })

            case "groups without a user to act as, and several groups, are refused in words" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch
                    write "    token: secret\n    as-groups: [ one ]"
                    stage.Resolve("api.shop:http", false) |> ignore
                    do! eventually "the reason" (fun () -> (error stage).Contains "need 'as'")
                    write "    token: secret\n    as: viewer\n    as-groups: [ one, two ]"
                    do! eventually "the other" (fun () -> (error stage).Contains "Impersonate-Group has several")
                    Expect.isEmpty stage.Server.Requests "requests as somebody else"
                })

            case "a token file is read for each request, and takes precedence over a token" (fun () ->
                task {
                    let stage, scratch, write = withUser 10.0
                    use stage = stage
                    use scratch = scratch
                    scratch.Write("token", "first\n") |> ignore
                    write "    token: wrong\n    tokenFile: token"
                    let sink = stage.Resolve("api.shop:http", false)
                    do! eventually "the first list" (fun () -> sink.Last = Some [])
                    stage.Server.Token <- "second"
                    scratch.Write("token", "second\n") |> ignore
                    do! eventually "the watch is up" (fun () -> stage.Server.Watches = 1)
                    stage.Server.Play [ EndWatches; web [ "10.0.0.1" ] ]
                    do! eventually "the change" (fun () -> sink.Last = Some [ "10.0.0.1:80" ])
                })
        ]
