/// What `kedge check`, `explain` and `diff` report about the certificates of the server.
module Kedge.Tests.EndToEnd.CertificateReportTests

open System
open System.IO
open Expecto
open Kedge.Tests.EndToEnd.InspectionStage
open Kedge.Tests.Harness

/// Writes the pair of an identity as `name.crt` and `name.key` into a directory.
let private put (directory: string) (name: string) (identity: Identity) =
    Directory.CreateDirectory directory |> ignore
    File.Copy(identity.CertFile, Path.Combine(directory, $"{name}.crt"))
    File.Copy(identity.KeyFile, Path.Combine(directory, $"{name}.key"))

let private issue (names: string list) = Certificates.authority.Value.ServerFor names

/// A wildcard host, a host, and a host of a gRPC route; a line for each.
let private director =
    """{ "http": { "routes": [
  { "backend_name": "shop", "host_matcher": "*.shop.example.com" },
  { "backend_name": "blog", "host_matcher": "blog.example.com" }
] }, "grpc": { "routes": [
  { "backend_name": "orders", "authority_host_matcher": "orders.example.com" }
] } }"""

/// Certificates for the hosts of `director`: the wildcard and the blog, and one that no route needs.
let private certificates (scratch: Scratch) =
    let certs = scratch.File "certs"
    put certs "shop" (issue [ "*.shop.example.com" ])
    put certs "blog" (issue [ "blog.example.com" ])
    put certs "old" (issue [ "old.example.com" ])
    certs

let private lines (out: string array) = String.Join('\n', out)

let private dirs (path: string) = $"--server_tls_cert_dirs={path}"

let private day (identity: Identity) = identity.Certificate.NotAfter.ToUniversalTime().ToString "yyyy-MM-dd"

let private certificateLines (out: string array) =
    out
    |> Array.map _.Trim()
    |> Array.filter (fun line -> line.StartsWith "certificate: " || line.StartsWith "misdirected: ")
    |> Array.toList

[<Tests>]
let tests =
    testList
        "reports about certificates"
        [
            case
                "check: hosts without a certificate, with exact requests, and certificates that nothing needs"
                (fun () ->
                    task {
                        use scratch = new Scratch()
                        let file = scratch.Write("director.json", director)
                        let certs = certificates scratch

                        let! code, out, errors = run [ "check"; InspectionStage.director file; dirs certs ]
                        Expect.equal (code, errors) (0, [||]) "only warnings"
                        let out = (lines out).Replace(scratch.Path + "/", "")

                        Expect.stringContains
                            out
                            "director.json:2: $.http.routes[0].host_matcher: warning host-without-certificate: the \
certificate for *.shop.example.com covers one label only; no certificate names a.b.shop.example.com: it gets the default one
    GET https://a.b.shop.example.com/x"
                            "the wildcard of a certificate has one label"

                        Expect.stringContains
                            out
                            "director.json:5: $.grpc.routes[0].authority_host_matcher: warning host-without-certificate: \
no certificate names orders.example.com: it gets the default one
    POST https://orders.example.com/x/M --grpc"
                            "gRPC"

                        Expect.stringContains
                            out
                            "certs/old: warning certificate-unused: no route takes requests for its names: old.example.com"
                            "unused"

                        Expect.isFalse (out.Contains "blog.example.com:") "the blog has a certificate"
                        Expect.isFalse (out.Contains "certificate-expires") "20 days are enough"

                        let! code, _, _ =
                            run [ "check"; "--strict"; InspectionStage.director file; dirs certs ]

                        Expect.equal code 2 "warnings"
                        let! _, out, _ = run [ "check"; InspectionStage.director file ]
                        Expect.isFalse ((lines out).Contains "certificate") "nothing without certificates"
                    })

            case "check: what a wildcard host gets without any wildcard, and with strict names" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", director)
                    let certs = scratch.File "certs"
                    put certs "shop" (issue [ "a.shop.example.com" ])
                    let fallback = issue [ "orders.example.com" ]

                    let! _, out, _ =
                        run
                            [
                                "check"
                                InspectionStage.director file
                                dirs certs
                                $"--server_tls_cert_file={fallback.CertFile}"
                                $"--server_tls_key_file={fallback.KeyFile}"
                                "--server_tls_strict_sni"
                            ]

                    let out = lines out

                    Expect.stringContains
                        out
                        "no certificate names b.shop.example.com: its handshakes are refused"
                        "the first name that is left"

                    Expect.isFalse
                        (out.Contains "no certificate names orders.")
                        "the default certificate has that name"
                })

            case "check: a certificate whose key is another one's, one that ends soon, one that has ended" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", director)
                    let certs = certificates scratch
                    File.Copy((issue [ "x.example" ]).KeyFile, Path.Combine(certs, "blog.key"), true)

                    let check more =
                        run ([ "check"; "--output=json"; InspectionStage.director file; dirs certs ] @ more)

                    let kinds out = items "findings" (json out) |> List.map (fun f -> text "kind" f, text "file" f)
                    let! code, out, _ = check []
                    Expect.equal code 1 "an error"
                    Expect.contains (kinds out) ("certificate-key-mismatch", Path.Combine(certs, "blog")) "the key"

                    Expect.exists
                        (items "findings" (json out))
                        (fun f ->
                            text "kind" f = "host-without-certificate"
                            && text "path" f = "$.http.routes[1].host_matcher")
                        "its host has no certificate now"

                    let soon = DateTimeOffset.UtcNow.AddDays(13.0).ToString "yyyy-MM-dd'T'HH:mm:ss'Z'"
                    let! _, out, _ = check [ $"--now={soon}" ]
                    Expect.contains (kinds out) ("certificate-expires", Path.Combine(certs, "shop")) "in 7 days"

                    Expect.exists
                        (items "findings" (json out))
                        (fun f -> (text "message" f).EndsWith ", in 6 days")
                        "whole days that are left"

                    let! _, out, _ = check [ "--now=2040-01-01t00:00:00+02:00" ]
                    Expect.contains (kinds out) ("certificate-expires", Path.Combine(certs, "old")) "it has ended"

                    Expect.exists
                        (items "findings" (json out))
                        (fun f -> (text "message" f).StartsWith "it expired on ")
                        "the message"

                    File.WriteAllText(Path.Combine(certs, "shop.crt"), "no certificate")
                    let! _, out, _ = check []
                    Expect.contains (kinds out) ("certificate-invalid", Path.Combine(certs, "shop")) "not PEM"

                    for wrong in [ "tomorrow"; "2027-01-03"; "2027-01-03T00:00:00" ] do
                        let! code, _, errors = check [ $"--now={wrong}" ]
                        Expect.equal code 2 "a usage error"
                        Expect.stringContains (lines errors) $"'{wrong}' is not a time such as 2027-01-03T00:00:00Z" ""
                })

            case "check: certificates that are not on this machine make no false alarm" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", director)

                    for more in
                        [
                            [ dirs "/nowhere/certs" ]
                            [
                                "--server_tls_cert_file=/nowhere/tls.crt"
                                "--server_tls_key_file=/nowhere/tls.key"
                            ]
                            [ dirs (certificates scratch); "--server_tls_secret_namespaces=shop" ]
                        ] do
                        let! _, out, _ = run ([ "check"; InspectionStage.director file ] @ more)
                        let out = lines out
                        Expect.isFalse (out.Contains "warning host-without-certificate") $"{more}: {out}"
                        Expect.stringContains out "note host-without-certificate" "not known"
                })

            case "explain: the certificate for the name, and 421 on a connection for another one" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", director)
                    let certs = scratch.File "certs"
                    let shop = issue [ "*.shop.example.com" ]
                    put certs "shop" shop
                    put certs "blog" (issue [ "blog.example.com" ])

                    let explain url more =
                        task {
                            let! code, out, errors =
                                run ([ "explain"; "GET"; url; InspectionStage.director file; dirs certs ] @ more)

                            Expect.equal (code, errors) (0, [||]) "exit code"
                            return certificateLines out
                        }

                    let! found = explain "https://a.shop.example.com/" []

                    Expect.equal
                        found
                        [ $"certificate: *.shop.example.com ({certs}/shop, until {day shop})" ]
                        "by a wildcard"

                    let! found = explain "https://a.b.shop.example.com/" []

                    Expect.equal
                        found
                        [ "certificate: none names a.b.shop.example.com, so the default one" ]
                        "two labels"

                    let! found = explain "https://blog.example.com/" [ "--sni=a.shop.example.com" ]
                    Expect.stringContains found[0] "certificate: *.shop.example.com (" "of the connection"

                    Expect.equal
                        found[1]
                        "misdirected: another certificate names blog.example.com, so kedge answers 421 on this connection"
                        "of the request"

                    let! found =
                        explain "https://blog.example.com/" [ "--sni=nowhere.example"; "--server_tls_strict_sni" ]

                    Expect.stringContains found[0] "none names nowhere.example, so the handshake is refused" "strict"

                    let! found =
                        explain "https://blog.example.com/" [ "--sni="; "--now=2026-12-01T00:00:00Z" ]

                    Expect.equal found[0] "certificate: no name is asked for, so the default one" "no name"
                    let! found = explain "http://blog.example.com/" [ "--listener=plain" ]
                    Expect.isEmpty found "clear text"
                    let! found = explain "https://10.1.2.3/" []
                    Expect.equal found [ "certificate: no name is asked for, so the default one" ] "an address"

                    let! code, _, errors =
                        run
                            [
                                "explain"
                                "GET"
                                "https://blog.example.com/"
                                InspectionStage.director file
                                "--sni=a b"
                            ]

                    Expect.equal (code, lines errors) (2, "kedge: --sni: 'a b' is not a host name") "not a name"
                })

            case "diff: the hosts whose certificate changes, with issuer and last day" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", director)
                    let shop = issue [ "*.shop.example.com" ]
                    let blog, renewed = issue [ "blog.example.com" ], issue [ "blog.example.com" ]
                    let before, after = scratch.File "before", scratch.File "after"
                    put before "shop" shop
                    put before "blog" blog
                    put after "shop" shop
                    put after "blog" renewed
                    put after "orders" (issue [ "orders.example.com" ])

                    let! code, out, errors =
                        run
                            [
                                "diff"
                                "--exit_code"
                                file
                                file
                                $"--old_server_tls_cert_dirs={before}"
                                dirs after
                            ]

                    Expect.equal (code, errors) (1, [||]) "there are differences"
                    let until = day renewed

                    Expect.equal
                        ((lines out).Replace(scratch.Path + "/", ""))
                        $"certificate-changed
  - blog.example.com: CN=kedge-test-ca, until {day blog} (before/blog)
  + blog.example.com: CN=kedge-test-ca, until {until} (after/blog)
certificate-changed
  - orders.example.com: the default certificate
  + orders.example.com: CN=kedge-test-ca, until {until} (after/orders)
2 differences, 0 with requests that go elsewhere"
                        "text"

                    let! code, out, _ =
                        run
                            [
                                "diff"
                                "--exit_code"
                                file
                                file
                                $"--old_server_tls_cert_dirs={before}"
                                dirs before
                            ]

                    Expect.equal (code, out) (0, [| "no difference" |]) "none from itself"
                })

            case "diff: with the certificates of one side, it says that they are left out" (fun () ->
                task {
                    use scratch = new Scratch()
                    let file = scratch.Write("director.json", director)
                    let certs = certificates scratch
                    let! code, out, _ = run [ "diff"; file; file; dirs certs ]

                    Expect.equal
                        (code, List.ofArray out)
                        (0,
                         [
                             "certificates are left out: --old_server_tls_cert_dirs or --old_server_tls_cert_file is missing"
                             "no difference"
                         ])
                        "the old ones are missing"

                    let! _, out, _ = run [ "diff"; file; file; $"--old_server_tls_cert_dirs={certs}" ]
                    Expect.stringContains out[0] "--server_tls_cert_dirs or --server_tls_cert_file is missing" "new"

                    let! code, out, errors =
                        run [ "diff"; file; file; dirs certs; "--old_server_tls_cert_dirs=/nowhere/certs" ]

                    Expect.equal
                        (code, out, lines errors)
                        (2, [||], "kedge: /nowhere/certs: no such directory")
                        "not comparable"

                    let! _, out, _ = run [ "diff"; "--output=json"; file; file ]
                    Expect.isFalse ((json out).GetProperty("certificates_compared").GetBoolean()) "in JSON, always"
                })
        ]
