/// The files under `misc/`, used as the README says.
module Kedge.Tests.EndToEnd.SampleTests

open System.IO
open System.Net.Http
open System.Security.Cryptography.X509Certificates
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

/// The exit code of gen_cert.sh, called from elsewhere.
let private script (directory: string) (arguments: string) =
    let outcome = Shell.runIn "/" [] $"bash '{directory}/misc/gen_cert.sh' {arguments}"
    outcome.GetAwaiter().GetResult().Code

/// A root directory with a copy of `misc/`, and certificates in it.
let private project () =
    let scratch = new Scratch()
    let misc = Directory.CreateDirectory(scratch.File "misc")

    for file in Directory.GetFiles(Path.Combine(Executable.root, "misc")) do
        match Path.GetExtension file with
        | ".json"
        | ".sh" -> File.Copy(file, Path.Combine(misc.FullName, FileInfo(file).Name))
        | _ -> ()

    Expect.equal (script scratch.Path "") 0 "gen_cert.sh"
    scratch

let private identity (scratch: Scratch) name =
    let file suffix = scratch.File $"misc/{name}.{suffix}"

    {
        Certificate = X509Certificate2.CreateFromPemFile(file "crt", file "key")
        CertFile = file "crt"
        KeyFile = file "key"
    }

/// HTTP/1.1 to kedge; trusts the sample CA, for the name `localhost`.
let private client (scratch: Scratch) (port: int) (own: Identity option) =
    let handler = Clients.handler port own

    let authority =
        X509CertificateLoader.LoadCertificateFromFile(scratch.File "misc/ca.crt")

    handler.SslOptions.RemoteCertificateValidationCallback <- null

    let policy =
        X509ChainPolicy(TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck)

    policy.CustomTrustStore.Add authority |> ignore
    handler.SslOptions.CertificateChainPolicy <- policy
    new HttpClient(handler, Timeout = patience)

/// The three-port command with client certificates, certificate paths under `misc/`, on other ports.
let private start (scratch: Scratch) (more: string list) =
    task {
        let grpc, https, debug = Ports.free (), Ports.free (), Ports.free ()

        let program =
            new KedgeProgram(
                [
                    $"--server_grpc_tls_port={grpc}"
                    $"--server_http_port={debug}"
                    $"--server_http_tls_port={https}"
                    "--server_tls_cert_file=misc/localhost.crt"
                    "--server_tls_key_file=misc/localhost.key"
                    "--server_tls_client_ca_files=misc/ca.crt"
                    "--server_tls_client_cert_required=true"
                    "--kedge_config_director_config_path=misc/director.json"
                    yield! more
                ],
                scratch.Path,
                []
            )

        use probe = new HttpClient()

        do!
            eventually "a ready server" (fun () ->
                Expect.isFalse program.HasExited program.Output

                try
                    (probe.GetAsync $"http://127.0.0.1:{debug}/_readyz").GetAwaiter().GetResult().IsSuccessStatusCode
                with :? HttpRequestException ->
                    false)

        return program, https
    }

[<Tests>]
let tests =
    testList
        "samples"
        [
            case "gen_cert.sh keeps what is there, and makes all anew with --force" (fun () ->
                task {
                    use scratch = project ()
                    let text name = File.ReadAllText(scratch.File $"misc/{name}")
                    let names = [ "ca.crt"; "localhost.crt"; "client.crt"; "ca.key" ]
                    let first = List.map text names
                    Expect.equal (script scratch.Path "") 0 "again"
                    Expect.equal (List.map text names) first "kept"
                    Expect.equal (script scratch.Path "--force") 0 "by force"

                    for name, before in List.zip names first do
                        Expect.notEqual (text name) before name
                })

            case "the command with client certificates proxies with one and refuses without" (fun () ->
                task {
                    use scratch = project ()
                    use peer = new HttpPeer "sample"
                    let pool = scratch.File "misc/backendpool.json"
                    File.WriteAllText(pool, (File.ReadAllText pool).Replace("9080", string peer.Port))

                    let! program, https =
                        start scratch [ "--kedge_config_backendpool_config_path=misc/backendpool.json" ]

                    use _ = program
                    use certified = client scratch https (Some(identity scratch "client"))
                    let! answer = get certified $"https://localhost:{https}/" []
                    Expect.equal (answer.Status, answer.Body) (200, "sample") program.Output
                    Expect.equal (answer.Header "X-Kedge-Backend-Name") "local" "backend"
                    use bare = client scratch https None

                    let! _ =
                        failure<HttpRequestException> "no certificate" (fun () ->
                            bare.GetAsync $"https://localhost:{https}/bare")

                    Expect.isEmpty (peer.ReceivedOn "/bare") "nothing reached the backend"
                })

            case "the same command without a backend pool runs, and says what is missing" (fun () ->
                task {
                    use scratch = project ()
                    let! program, https = start scratch []
                    use _ = program
                    use certified = client scratch https (Some(identity scratch "client"))
                    let! answer = get certified $"https://localhost:{https}/" []
                    Expect.equal (answer.Status, answer.Header "X-Kedge-Error-Type") (502, "no-backend") program.Output
                })
        ]
