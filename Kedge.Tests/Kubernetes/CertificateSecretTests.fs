/// Certificates in Secrets, which kedge watches in the namespaces that it is given.
module Kedge.Tests.Kubernetes.CertificateSecretTests

open System
open System.IO
open System.Net.Http
open Expecto
open Kedge.Tests.EndToEnd
open Kedge.Tests.EndToEnd.CertificateByNameTests
open Kedge.Tests.EndToEnd.Stage
open Kedge.Tests.Harness

let private secretOf (kind: string) (labels: string) (space: string) (name: string) (cert: string) (key: string) =
    let encoded (file: string) = Convert.ToBase64String(File.ReadAllBytes file)

    Put
        $$"""{ "kind": "Secret", "type": "{{kind}}", "metadata": { "namespace": "{{space}}", "name": "{{name}}", "labels": {{labels}} },
               "data": { "tls.crt": "{{encoded cert}}", "tls.key": "{{encoded key}}" } }"""

let private labelled = """{ "kedge.com/certificate": "true" }"""

let private secret space name (identity: Identity) =
    secretOf "kubernetes.io/tls" labelled space name identity.CertFile identity.KeyFile

let private issue (name: string) = Certificates.authority.Value.ServerFor [ name ]

let private start (api: ApiServer) =
    Kedge.Start("{}", "{}", api.Flags @ [ "--server_tls_secret_namespaces=shop,blog" ])

let private inState (kedge: Kedge) (state: string) (count: float) =
    soon
        patience
        $"{count} {state}"
        (fun () -> DebugPort.metric kedge "kedge_certificates" [ "source", "secret"; "state", state ])
        (fun found -> found = count)

[<Tests>]
let tests =
    testList
        "certificates in Secrets"
        [
            case "those with the label and the type, in the given namespaces, are used from the start" (fun () ->
                task {
                    use api = new ApiServer()
                    let shop, blog = issue "shop.example", issue "blog.example"
                    let other = issue "other.example"

                    api.Play
                        [
                            secret "shop" "web" shop
                            secret "blog" "web" blog
                            secret "elsewhere" "web" other
                            secretOf "kubernetes.io/tls" "{}" "shop" "unlabelled" other.CertFile other.KeyFile
                            secretOf "Opaque" labelled "shop" "opaque" other.CertFile other.KeyFile
                        ]

                    use! kedge = start api

                    for name, identity in
                        [
                            "shop.example", shop
                            "blog.example", blog
                            "other.example", Certificates.server.Value
                        ] do
                        let! found = servedFor kedge name
                        Expect.equal found (serial identity) name

                    do! inState kedge "serving" 2.0

                    for request in api.Double.Requests do
                        Expect.isTrue
                            (request.StartsWith "/api/v1/namespaces/shop/secrets?"
                             || request.StartsWith "/api/v1/namespaces/blog/secrets?")
                            request

                        Expect.stringContains request "fieldSelector=type%3Dkubernetes.io%2Ftls" "by the type"
                })

            case "at most 5,000 are used, and the log says so" (fun () ->
                task {
                    use api = new ApiServer()
                    let shop = issue "shop.example"

                    api.Play
                        [
                            secret "shop" "a" shop

                            for i in 1..5000 do
                                Put
                                    $$"""{ "kind": "Secret", "type": "kubernetes.io/tls", "metadata": { "namespace": "shop",
                                           "name": "b{{i}}", "labels": {{labelled}} }, "data": {} }"""
                        ]

                    use! kedge = start api
                    do! becomes kedge "shop.example" shop
                    do! eventually "a line" (fun () -> kedge.Program.Output.Contains "more than 5000 Secrets")
                })

            case
                "a renewal is served; an invalid one is quarantined and harms no other; a deleted one is gone"
                (fun () ->
                    task {
                        use api = new ApiServer()

                        let shop, blog, renewed =
                            issue "shop.example", issue "blog.example", issue "shop.example"

                        api.Play [ secret "shop" "web" shop; secret "blog" "web" blog ]
                        use! kedge = start api
                        do! becomes kedge "shop.example" shop
                        api.Play [ secret "shop" "web" renewed ]
                        do! becomes kedge "shop.example" renewed

                        api.Play
                            [
                                secretOf "kubernetes.io/tls" labelled "shop" "web" shop.CertFile blog.KeyFile
                                secretOf "kubernetes.io/tls" labelled "shop" "new" shop.CertFile blog.KeyFile
                            ]

                        do! inState kedge "quarantined" 2.0
                        do! becomes kedge "shop.example" renewed
                        do! becomes kedge "blog.example" blog
                        use client = new HttpClient()
                        let! page = client.GetStringAsync(kedge.DebugUrl "/debug/status")
                        Expect.stringContains page "secret:shop/web" "on the status page"
                        Expect.stringContains page "is not the key of the certificate" "and why"

                        // What happened while the watch was cut off is in the next list.
                        api.Play
                            [
                                DropWatches
                                Delete("Secret", "shop", "web")
                                Delete("Secret", "shop", "new")
                                Compact
                            ]

                        do! becomes kedge "shop.example" Certificates.server.Value
                        do! becomes kedge "blog.example" blog
                    })

            case "an API server that refuses keeps nobody from being ready, and is reported" (fun () ->
                task {
                    use api = new ApiServer()
                    api.Double.RefuseWith <- 403
                    use! kedge = start api
                    let! found = servedFor kedge "shop.example"
                    Expect.equal found (serial Certificates.server.Value) "the default certificate"
                    do! eventually "the log" (fun () -> kedge.Program.Output.Contains "watch of secrets in ")
                })

            case "what is not the name of a namespace is an error at the start" (fun () ->
                task {
                    let! code, _, errors =
                        KedgeProgram.RunToEnd [ "serve"; "--server_tls_secret_namespaces=shop,No_Space" ]

                    Expect.equal code 2 "usage"

                    Expect.stringContains
                        (String.Join('\n', errors))
                        "'No_Space' is not the name of a namespace"
                        "says so"
                })
        ]
