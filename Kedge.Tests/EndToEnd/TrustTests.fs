/// Whom kedge believes what, and what backends are told of the caller.
module Kedge.Tests.EndToEnd.TrustTests

open System.Security.Cryptography
open Expecto
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private start (flags: string list) = serving "alpha" alpha.Value.Port flags

let private claims =
    [
        "X-Forwarded-For", "6.6.6.6"
        "X-Forwarded-Host", "front.example"
        "X-Forwarded-Proto", "http"
        "X-Forwarded-Port", "81"
        "X-Real-IP", "6.6.6.6"
        "X-Forwarded-Client-Cert", "Subject=\"CN=admin\""
    ]

let private seen (kedge: Kedge) identity (path: string) =
    task {
        use client = Clients.http1 kedge.HttpsPort identity
        let! answer = get client ("https://alpha.example" + path) claims
        Expect.equal answer.Status 200 "status"
        return alpha.Value.One path
    }

let private authorityFlag () = $"--server_tls_client_ca_files={Certificates.authority.Value.File}"

[<Tests>]
let tests =
    testList
        "what backends are told of the caller"
        [
            case "a trusted proxy's X-Forwarded-* are kept, and its own address is added" (fun () ->
                task {
                    use! kedge = start [ "--trusted_proxies=10.0.0.0/8,127.0.0.0/8" ]
                    let! got = seen kedge None "/trusted"
                    Expect.equal (got.Header "X-Forwarded-For") "6.6.6.6, 127.0.0.1" "for"
                    Expect.equal (got.Header "X-Forwarded-Host") "front.example" "host"
                    Expect.equal (got.Header "X-Forwarded-Proto") "http" "proto"
                    Expect.equal (got.Header "X-Forwarded-Port") "81" "port"
                    Expect.equal (got.Header "X-Real-IP") "6.6.6.6" "real"
                    Expect.equal (got.Header "X-Forwarded-Client-Cert") "" "not even from there"
                })

            case "a peer of another network is not believed" (fun () ->
                task {
                    use! kedge = start [ "--trusted_proxies=10.0.0.0/8,127.0.0.2/32" ]
                    let! got = seen kedge None "/untrusted"
                    Expect.equal (got.Header "X-Forwarded-For") "127.0.0.1" "for"
                    Expect.equal (got.Header "X-Forwarded-Host") "alpha.example" "host"
                    Expect.equal (got.Header "X-Forwarded-Proto") "https" "proto"

                    for name in [ "X-Forwarded-Port"; "X-Real-IP"; "X-Forwarded-Client-Cert" ] do
                        Expect.equal (got.Header name) "" name
                })

            case
                "with --forward_client_cert backends learn the verified certificate's hash, subject and names"
                (fun () ->
                    task {
                        use! kedge = start [ authorityFlag (); "--forward_client_cert" ]

                        let identity =
                            Certificates.authority.Value.ClientWith(
                                "CN=\"a \"\"b\"\", c\", O=Kedge",
                                [ "one.example"; "spiffe://cluster/ns/x;y" ]
                            )

                        let! got = seen kedge (Some identity) "/certified"

                        let hash =
                            identity.Certificate.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant()

                        let subject =
                            identity.Certificate.Subject.Replace("\\", "\\\\").Replace("\"", "\\\"")

                        Expect.equal
                            (got.Values "X-Forwarded-Client-Cert")
                            [
                                $"Hash={hash};Subject=\"{subject}\";DNS=one.example;URI=\"spiffe://cluster/ns/x;y\""
                            ]
                            "the one header"
                    })

            case "with the flag, but no certificate, there is no header" (fun () ->
                task {
                    use! kedge =
                        start
                            [
                                authorityFlag ()
                                "--forward_client_cert"
                                "--server_tls_client_cert_required=false"
                            ]

                    let! got = seen kedge None "/uncertified"
                    Expect.isEmpty (got.Values "X-Forwarded-Client-Cert") "the caller's own claim is gone"
                })

            case "without the flag a certificate stays between the caller and kedge" (fun () ->
                task {
                    use! kedge = start [ authorityFlag () ]
                    let! got = seen kedge (Some(Certificates.client.Value)) "/unforwarded"
                    Expect.isEmpty (got.Values "X-Forwarded-Client-Cert") "no header"
                })
        ]
