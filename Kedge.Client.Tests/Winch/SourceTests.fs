/// Auth sources that need no browser, and where logins are kept.
module Kedge.Client.Tests.Winch.SourceTests

open System
open System.IO
open System.Security.Cryptography
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Kedge.Tests.Harness

/// Runs lines of a shell, in which `winch` is the executable under test.
let private shell (scratch: Scratch) (environment: (string * string) list) (lines: string) =
    Shell.runIn
        scratch.Path
        (Winch.Home scratch.Path @ environment)
        $"winch() {{ {Winch.Executable} \"$@\"; }}\n{lines}"

let private sourcesOf (scratch: Scratch) (kind: string) =
    let file =
        scratch.Write("auth.json", $$"""{ "auth_sources": [ { "name": "mine", {{kind}} } ] }""")

    $"--server_auth_config_path={file}"

let private oidc (double: OidcDouble) (more: string) =
    $$""" "oidc": { "provider": "{{double.Name}}", "client_id": "winch-tests", "login_callback_path": "/callback"{{more}} } """

let private token (user: string) = $"token-of-{user}"

let private kubeConfig =
    $$"""
apiVersion: v1
kind: Config
users:
- name: static
  user: { token: {{token "static"}} }
- name: plugin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: sh
      args: [ "-c", 'echo "{ \"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": { \"token\": \"{{token "plugin"}}\" } }"' ]
      interactiveMode: Never
- name: password
  user: { username: somebody, password: {{token "password"}} }
- name: nothing
  user: {}
"""

[<Tests>]
let tests =
    testList
        "winch, auth sources"
        [
            case "kube: token, exec plugin and password of a kubeconfig, which is not written" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("kubeconfig", kubeConfig)

                    let ask (user: string) (path: string) (environment: (string * string) list) =
                        let flag = sourcesOf scratch $$""" "kube": { "user": "{{user}}"{{path}} } """
                        shell scratch environment $"winch token mine {flag}"

                    let path = $", \"path\": \"{file}\""

                    for user in [ "static"; "plugin" ] do
                        let! outcome = ask user path []
                        Expect.equal (outcome.Code, outcome.Output) (0, token user + "\n") outcome.Errors

                    let! outcome = ask "static" "" [ "KUBECONFIG", file ]
                    Expect.equal (outcome.Code, outcome.Output) (0, token "static" + "\n") "the file of KUBECONFIG"
                    let! outcome = ask "password" path []
                    let pair = $"""somebody:{token "password"}"""

                    Expect.equal
                        (outcome.Output.Trim())
                        (Convert.ToBase64String(Text.Encoding.UTF8.GetBytes pair))
                        "for the scheme Basic"

                    for user, reason in [ "nothing", "does not have appropriate auth credentials"; "nobody", "nobody" ] do
                        let! outcome = ask user path []
                        Expect.equal outcome.Code 1 user
                        Expect.stringContains outcome.Errors "auth source mine: " "says which"
                        Expect.stringContains outcome.Errors reason "says why"

                    Expect.equal (File.ReadAllText file) kubeConfig "not written"
                })

            case "service_account_oidc: a signed assertion, and the key stays on the machine" (fun () ->
                task {
                    use scratch = new Scratch()
                    use double = new OidcDouble()
                    use key = RSA.Create 2048
                    let pem = key.ExportPkcs8PrivateKeyPem()
                    double.AddServiceAccount("robot@project.test", key)

                    let file =
                        scratch.Write(
                            "key.json",
                            JsonSerializer.Serialize
                                {|
                                    ``type`` = "service_account"
                                    private_key_id = "k1"
                                    private_key = pem
                                    client_email = "robot@project.test"
                                |}
                        )

                    let ask (path: string) (more: string) =
                        let kind =
                            $$""" "service_account_oidc": { "provider": "{{double.Name}}", "client_id": "winch-tests",
                                    "service_account_json_path": "{{path}}"{{more}} } """

                        shell scratch [] $"winch token mine {sourcesOf scratch kind}"

                    for more, audience in
                        [
                            "", "winch-tests"
                            ", \"target_audience\": \"https://service.test\"", "https://service.test"
                        ] do
                        let! outcome = ask file more
                        Expect.equal outcome.Code 0 outcome.Errors
                        let claims = outcome.Output.Trim().Split('.')[1]

                        let bytes = Buffers.Text.Base64Url.DecodeFromChars(claims.AsSpan())
                        use json = JsonDocument.Parse(ReadOnlyMemory bytes)

                        Expect.equal (json.RootElement.GetProperty("aud").GetString()) audience "audience"
                        Expect.equal (json.RootElement.GetProperty("sub").GetString()) "robot@project.test" "subject"

                    Expect.isFalse (double.Received |> Array.exists _.Contains("PRIVATE")) "the key was not sent"
                    let! outcome = ask file ", \"unsafe_post_key\": true"
                    Expect.equal outcome.Code 1 "this provider does not take keys"
                    Expect.isTrue (double.Received |> Array.exists _.Contains("PRIVATE")) "sent on request only"
                    let! outcome = ask (scratch.Write("other.json", "{}")) ""
                    Expect.stringContains outcome.Errors "is not a service account key" "no key"
                    let! outcome = ask (scratch.File "missing.json") ""
                    Expect.equal outcome.Code 1 "no file"
                    Expect.stringContains outcome.Errors "missing.json" "says which"
                })

            case "a login is kept in the keyring, where there is one" (fun () ->
                task {
                    use scratch = new Scratch()
                    use double = new OidcDouble()
                    Secrets.add "password-of-the-keyring"
                    let flag = sourcesOf scratch (oidc double "")

                    let script =
                        scratch.Write(
                            "session.sh",
                            $"""
winch() {{ {Winch.Executable} "$@" {flag}; }}
coproc gnome-keyring-daemon --unlock --foreground --components=secrets < <(printf password-of-the-keyring) 2>/dev/null
for _ in $(seq 200); do
    if printf x | secret-tool store --label=test application winch-test-probe; then break; fi
    sleep 0.1
done 2>/dev/null
winch login --device || exit 1
winch login --device
winch token >first || exit 2
secret-tool lookup application winch client_id winch-tests | grep -c refresh_token
find . -name "token_*" -not -name "*.lock" | wc -l
winch logout || exit 3
secret-tool lookup application winch client_id winch-tests
winch token
echo "exit code $?"
kill $COPROC_PID
"""
                        )

                    let! outcome =
                        shell scratch [ "XDG_RUNTIME_DIR", scratch.Path ] $"dbus-run-session -- bash {script}"

                    Expect.equal outcome.Code 0 outcome.Errors

                    let lines =
                        outcome.Output.TrimEnd('\n').Split '\n'
                        |> Array.filter (fun line -> not (line.StartsWith "Open "))
                        |> List.ofArray

                    Expect.equal
                        lines
                        [
                            "logged in to mine; the login is kept in the keyring"
                            "already logged in to mine"
                            "1"
                            "0"
                            "logged out of mine"
                            "exit code 1"
                        ]
                        "in the keyring, and in no file"

                    Expect.equal (File.ReadAllText(scratch.File "first").Split '.').Length 3 "a JSON Web Token"
                    Expect.stringContains outcome.Errors "nobody has logged in yet" "after the logout"
                })

            case "without a keyring a login is kept in a file, unless the keyring is demanded" (fun () ->
                task {
                    use scratch = new Scratch()
                    use double = new OidcDouble()
                    let none = [ "DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent" ]
                    let flag = sourcesOf scratch (oidc double "")

                    let! outcome =
                        shell scratch none $"winch login --device {flag} && winch token {flag}"

                    Expect.equal outcome.Code 0 outcome.Errors
                    let file = Path.Combine(scratch.Path, "data", "winch", "token_winch_winch-tests")

                    Expect.stringContains
                        outcome.Output
                        $"the login is kept in {file}, because the keyring cannot be used: "
                        "says where and why"

                    Expect.isTrue (File.Exists file) "the file"
                    let flag = sourcesOf scratch (oidc double ", \"store\": \"keyring\"")
                    let! outcome = shell scratch none $"winch login --device {flag}"
                    Expect.equal outcome.Code 1 "no file instead"
                    Expect.stringContains outcome.Errors "the keyring cannot be used: " "says why"
                })

            case "metrics and debug pages have a port of their own when a flag says so" (fun () ->
                task {
                    let port = Ports.free ()

                    use! own =
                        Winch.Start(
                            Stage.idle "",
                            "",
                            [
                                $"--server_http_monitoring_address=localhost:{port}"
                                "--quitquitquit"
                                "--server_metrics_path=/numbers"
                            ]
                        )

                    let status (url: string) =
                        task {
                            use! response = Winch.Direct.GetAsync url
                            return int response.StatusCode
                        }

                    for path, there, main in
                        [
                            "/numbers", 200, 404
                            "/_healthz", 200, 404
                            "/_readyz", 200, 404
                            "/debug/flagz", 200, 404
                            "/version", 200, 404
                            "/metrics", 404, 404
                            "/proxy.pac", 404, 200
                            "/winch/status", 404, 200
                            "/", 404, 200
                        ] do
                        let! code = status $"http://127.0.0.1:{port}{path}"
                        Expect.equal code there $"{path} on the monitoring port"
                        let! code = status (own.Url path)
                        Expect.equal code main $"{path} on the main port"

                    let quit (origin: string list) =
                        Stage.curl (origin @ [ "-w"; "%{http_code}"; "-X"; "POST"; own.Url "/quitquitquit" ])

                    let! _, answer = quit [ "-H"; "Origin: http://page.test" ]
                    Expect.stringEnds answer "403" "a page cannot end it"
                    let! _, answer = quit []
                    Expect.stringEnds answer "200" "a job can"
                    let! code = own.Program.Exit()
                    Expect.equal code 0 "it ends well"
                })
        ]
