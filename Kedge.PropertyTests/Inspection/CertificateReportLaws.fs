/// What reports say about the certificates of the listeners, compared with every name of a small world.
module Kedge.PropertyTests.CertificateReportLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.Domain

/// `q` is a label that nothing names; it represents all other labels.
let private universe =
    let labels = [ "a"; "b"; "q" ]

    [
        "s.test"
        "w.test"
        "test"
        "q"
        for x in labels do
            $"{x}.s.test"

            for y in labels do
                $"{y}.{x}.s.test"

        "q.q.a.s.test"
        "a.w.test"
        "q.w.test"
        "q.q.w.test"
    ]

let private routeHosts =
    [
        ""
        "s.test"
        "a.s.test"
        "b.s.test"
        "b.a.s.test"
        "w.test"
        "*.s.test"
        "*.a.s.test"
        "*.test"
    ]

let private certificateNames =
    [
        "s.test"
        "A.s.test"
        "b.s.test"
        "b.a.s.test"
        "w.test"
        "*.s.test"
        "*.a.s.test"
        "*.w.test"
    ]

let private adhocNames = [ "a.s.test"; "w.test"; "*.s.test"; "*q.s.test"; "*t" ]

let private route =
    gen {
        let! host = Gen.elements routeHosts

        let! listener =
            Gen.frequency [ 5, Gen.constant "TLS"; 1, Gen.elements [ "PLAIN"; "ANY" ] ]

        let! mode =
            Gen.frequency [ 5, Gen.constant "ANY"; 1, Gen.elements [ "REVERSE_PROXY"; "FORWARD_PROXY" ] ]

        let! header =
            Gen.frequency [ 3, Gen.constant ""; 1, Gen.constant ", \"header_matcher\": { \"x\": \"1\" }" ]

        let! path = Gen.frequency [ 6, Gen.constant "/*"; 1, Gen.constant "/x" ]

        return
            $"{{ \"host_matcher\": \"{host}\", \"listener\": \"{listener}\", \"proxy_mode\": \"{mode}\", \"path_rules\": [\"{path}\"], \"respond\": {{ \"status\": 200 }}{header} }}"
    }

let private call =
    Gen.elements routeHosts
    |> Gen.map (fun host -> $"{{ \"authority_host_matcher\": \"{host}\", \"backend_name\": \"bb\" }}")

let private adhocRule =
    Gen.elements adhocNames
    |> Gen.map (fun name -> $"{{ \"dns_name_matcher\": \"{name}\", \"port\": {{ \"allowed\": [80] }} }}")

let private upTo count gen = Gen.choose (0, count) |> Gen.bind (fun count -> Gen.listOfLength count gen)

let private configuration =
    gen {
        let! routes = upTo 4 route
        let! calls = upTo 1 call
        let! rules = Gen.frequency [ 2, Gen.constant []; 1, upTo 2 adhocRule ]
        let join = String.concat ", "

        return
            $"{{ \"http\": {{ \"routes\": [{join routes}], \"adhoc_rules\": [{join rules}] }}, \"grpc\": {{ \"routes\": [{join calls}] }} }}"
    }

let private load (json: string) : Configuration =
    match Configuration.Load("d", ReadOnlyMemory(Encoding.UTF8.GetBytes json), "", ReadOnlyMemory.Empty) with
    | loaded ->
        match loaded.Value with
        | null -> failtestf "%A of %s" loaded.Errors json
        | configuration -> configuration

let private start = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let private certificate =
    gen {
        let! count = Gen.choose (0, 2)
        let! names = Gen.elements certificateNames |> Gen.listOfLength count
        let! days = Gen.choose (1, 3)
        let! hash = Gen.elements [ "A1"; "B2"; "C3"; "D4" ]

        return
            {
                Source = $"certs/{hash}"
                Issuer = "CN=CA"
                Facts =
                    {
                        Names = names
                        NotBefore = start.AddDays(float days)
                        NotAfter = start.AddDays 90.0
                        Sha256 = hash
                    }
            }
    }

let private now = start.AddDays 10.0

/// Certificates with different hashes, perhaps one of them the default one.
let private certificates =
    gen {
        let! all = upTo 4 certificate
        let all = all |> List.distinctBy _.Facts.Sha256
        let! hasDefault = Gen.elements [ true; false ]
        let! isStrict = Gen.elements [ true; false ]

        return
            match all with
            | first :: rest when hasDefault -> ServerCertificates(Some first, rest, isStrict, true, now)
            | all -> ServerCertificates(None, all, isStrict, true, now)
    }

let private requests (name: string) : HttpRequest list =
    [
        for path in [ "/"; "/x" ] do
            for headers in [ []; [ "x", "1" ] ] do
                {
                    Method = "GET"
                    Host = name
                    Ports = AuthorityPorts.Unspecified
                    Path = path
                    Query = ""
                    Mode = Decoded.ProxyMode.ReverseProxy
                    Listener = Decoded.Listener.Tls
                    Headers = headers
                }
    ]

let private callTo (name: string) : GrpcRequest =
    {
        Host = name
        Ports = AuthorityPorts.Unspecified
        Service = "p.S"
        Method = "M"
        Listener = Decoded.Listener.Tls
        Metadata = []
    }

/// Whether a request for the name is taken on a connection for it.
let private isTaken (configuration: Configuration) (name: string) =
    let director = configuration.Director

    requests name
    |> List.exists (fun request -> (Router.matchHttp director.HttpRoutes request).IsSome)
    || (Router.matchGrpc director.GrpcRoutes (callTo name)).IsSome
    || Protocol.All
       |> Array.exists (fun protocol -> AdhocRule.Decider(director.AdhocRules[protocol], name).IsSome)

let private kinds kind (findings: Finding seq) =
    findings |> Seq.filter (fun finding -> finding.Kind = kind) |> Seq.toList

let private shrinkless gen = Arb.fromGen gen

let private identity (choice: CertificateChoice) =
    match choice with
    | ByName(certificate, _)
    | ByDefault(Some certificate) -> certificate.Facts.Sha256
    | ByDefault None -> "default"
    | NoCertificate -> "refused"

[<Tests>]
let tests =
    testList
        "reports about certificates"
        [
            Law.test
                "host-without-certificate: for a host exactly when a request for a name without a certificate reaches one of its routes"
                3_000
                [
                    "reported", 500
                    "a wildcard in part", 100
                    "covered", 300
                    "never reached", 100
                ]
                (Gen.zip configuration certificates |> shrinkless)
                (fun seen (json, certificates) ->
                    let configuration = load json
                    let routes = configuration.Director.HttpRoutes

                    let findings =
                        CertificateFindings.Findings(configuration, certificates, [])
                        |> kinds "host-without-certificate"
                        |> List.filter (fun finding -> finding.Path.StartsWith "$.http.")

                    let routeOf (finding: Finding) =
                        routes[int (finding.Path.Substring(14, finding.Path.IndexOf ']' - 14))]

                    let reported = findings |> List.map (fun finding -> (routeOf finding).Host)
                    Expect.equal (List.distinct reported) reported "each host once"

                    let reaching name =
                        requests name
                        |> List.choose (Router.matchHttp routes)
                        |> List.map (fun index -> routes[index].Host)

                    let expected =
                        universe
                        |> List.filter (certificates.Covers >> not)
                        |> List.collect reaching
                        |> List.distinct
                        |> List.filter (fun host -> host <> AnyHost)

                    Expect.equal (Set(List.map string reported)) (Set(List.map string expected)) json

                    for finding in findings do
                        match (routeOf finding).Host with
                        | HostBelow parent when finding.Message.Contains "one label only" ->
                            Expect.isTrue (certificates.Covers $"q.{parent}") "a certificate covers one label"
                        | HostBelow parent -> Expect.isFalse (certificates.Covers $"q.{parent}") "no wildcard"
                        | _ -> ()

                        let witness = Seq.exactlyOne finding.Witnesses
                        let url = witness.Split(' ')[1]
                        let headers = if witness.Contains "-H" then [ "x: 1" ] else []

                        match RequestText.parse ("GET", url, headers, false, false) with
                        | Ok(Http request) ->
                            let winner = Router.matchHttp routes request
                            let host = winner |> Option.map (fun index -> routes[index].Host)
                            Expect.equal host (Some (routeOf finding).Host) $"{witness} reaches the host's route"
                            Expect.isFalse (certificates.Covers request.Host) $"{witness} has no certificate"
                            Expect.equal request.Mode Decoded.ProxyMode.ReverseProxy "no forward proxy"
                        | other -> failtestf "%s: %A" witness other

                    seen.When("reported", not findings.IsEmpty)

                    seen.When(
                        "a wildcard in part",
                        findings
                        |> List.exists (fun finding ->
                            finding.Message.Contains "one label only" && (routeOf finding).Host.IsHostBelow)
                    )

                    let others =
                        routes
                        |> Array.map _.Host
                        |> Array.filter (fun host -> host <> AnyHost && not (List.contains host reported))

                    let isReached host = universe |> List.exists (fun name -> List.contains host (reaching name))

                    seen.When("covered", Array.exists isReached others)
                    seen.When("never reached", not (Array.forall isReached others)))

            Law.test
                "certificate-unused: exactly the certificates that are chosen for no name of a request that is taken"
                5_000
                [
                    "used", 1_000
                    "by a wildcard", 200
                    "not used", 500
                    "by an ad-hoc rule", 50
                ]
                (Gen.zip configuration certificates |> shrinkless)
                (fun seen (json, certificates) ->
                    let configuration = load json

                    let unused =
                        CertificateFindings.Findings(configuration, certificates, [])
                        |> kinds "certificate-unused"
                        |> List.map _.File

                    for index, certificate in Seq.indexed certificates.Named do
                        let names =
                            universe
                            |> List.filter (fun name -> certificates.Find name = index && isTaken configuration name)

                        let isUnused = List.contains certificate.Source unused
                        Expect.equal isUnused names.IsEmpty $"{certificate.Source} with {json}"
                        seen.When("used", not isUnused)
                        seen.When("not used", isUnused)

                        seen.When(
                            "by a wildcard",
                            not isUnused
                            && certificate.Facts.Names |> List.forall (fun name -> name.StartsWith '*')
                        )

                        seen.When(
                            "by an ad-hoc rule",
                            not isUnused
                            && names
                               |> List.forall (fun name ->
                                   requests name
                                   |> List.forall (fun request ->
                                       (Router.matchHttp configuration.Director.HttpRoutes request).IsNone)
                                   && (Router.matchGrpc configuration.Director.GrpcRoutes (callTo name)).IsNone)
                        ))

            Law.test
                "certificate-changed: for a group of hosts exactly when a host of it that is taken gets another certificate"
                5_000
                [ "nothing changes", 200; "a host", 500; "a wildcard", 200; "other hosts", 200 ]
                (Gen.zip (Gen.zip configuration configuration) (Gen.zip certificates certificates)
                 |> shrinkless)
                (fun seen ((before, after), (was, is)) ->
                    let before, after = load before, load after

                    let labels =
                        CertificateDiff.Differences(before, after, was, is)
                        |> Seq.map (fun difference ->
                            Expect.equal difference.Kind "certificate-changed" "kind"
                            Expect.notEqual difference.Before difference.After "the sides differ"
                            difference.Before.Substring(0, difference.Before.IndexOf ':'))
                        |> Seq.toList

                    Expect.equal (List.distinct labels) labels "each group once"

                    let names =
                        [ was; is ]
                        |> Seq.collect (fun side -> Seq.append (Option.toList side.Fallback) side.Named)
                        |> Seq.collect _.Facts.Names
                        |> Seq.map _.ToLowerInvariant()
                        |> Set

                    let hosts =
                        [ before; after ]
                        |> Seq.collect (fun side ->
                            Seq.concat
                                [
                                    side.Director.HttpRoutes
                                    |> Seq.filter (fun route ->
                                        route.Listener <> Decoded.Listener.Plain
                                        && route.Mode <> Decoded.ProxyMode.ForwardProxy)
                                    |> Seq.map _.Host.Text
                                    side.Director.GrpcRoutes |> Seq.map _.Host.Text
                                    side.Director.AdhocRules[Protocol.Http] |> Seq.map _.Name.Text
                                ])
                        |> Set

                    let labelOf (name: string) =
                        let wildcard = "*" + name.Substring(max 0 (name.IndexOf '.'))

                        if hosts.Contains name || names.Contains name then
                            name
                        elif name.Contains '.' && names.Contains wildcard then
                            wildcard
                        else
                            "other hosts"

                    let changed =
                        universe
                        |> List.filter (fun name -> isTaken before name || isTaken after name)
                        |> List.filter (fun name -> identity (was.Choice name) <> identity (is.Choice name))
                        |> List.map labelOf
                        |> List.distinct

                    Expect.equal (Set labels) (Set changed) $"{before.Director} {after.Director}"
                    seen.When("nothing changes", labels.IsEmpty)
                    seen.When("other hosts", List.contains "other hosts" labels)
                    seen.When("a wildcard", labels |> List.exists (fun label -> label.StartsWith '*'))

                    seen.When(
                        "a host",
                        labels
                        |> List.exists (fun label -> Char.IsLower label[0] && label <> "other hosts")
                    ))

            Law.test
                "explain shows the certificate that the server chooses, and whether it answers 421"
                10_000
                [
                    "by name", 1_000
                    "the default one", 500
                    "refused", 500
                    "misdirected", 500
                    "another name", 1_000
                ]
                (Gen.zip3 (Gen.elements universe) (Gen.optionOf (Gen.elements ("" :: universe))) certificates
                 |> shrinkless)
                (fun seen (host, serverName, certificates) ->
                    let request = (requests host).Head
                    let lines = certificates.Lines(Http request, serverName)
                    let asked = defaultArg serverName host

                    match certificates.Choice asked with
                    | ByName(certificate, name) ->
                        let covers =
                            String.Equals(name, asked, StringComparison.OrdinalIgnoreCase)
                            || name.StartsWith "*." && asked.Substring(asked.IndexOf '.') = name.Substring 1

                        Expect.isTrue covers $"{name} covers {asked}"
                        Expect.contains certificate.Facts.Names name "it is a name of the certificate"
                        Expect.equal lines.Head $"certificate: {name} ({certificate.Text})" "the line"
                        seen.Count "by name"
                    | ByDefault fallback ->
                        Expect.equal
                            (fallback |> Option.map _.Source)
                            (certificates.Fallback |> Option.map _.Source)
                            ""

                        Expect.stringContains lines.Head "so the default one" "the line"
                        seen.Count "the default one"
                    | NoCertificate ->
                        Expect.stringContains lines.Head "the handshake is refused" "the line"
                        seen.Count "refused"

                    // By the definition of docs/security.md: another certificate than the connection's names the host.
                    let isMisdirected =
                        certificates.Covers host
                        && certificates.Find host <> certificates.Find asked
                        && asked <> host

                    Expect.equal (lines.Length = 2) isMisdirected $"421 for {host} on a connection for {asked}"
                    seen.When("misdirected", isMisdirected)
                    seen.When("another name", (asked <> host))

                    Expect.isEmpty
                        (certificates.Lines(
                            Http
                                { request with
                                    Listener = Decoded.Listener.Plain
                                },
                            serverName
                        ))
                        "clear text"

                    let forward =
                        Http
                            { request with
                                Mode = Decoded.ProxyMode.ForwardProxy
                            }

                    Expect.isEmpty (certificates.Lines(forward, None)) "the name of the proxy is not known"
                    Expect.equal (certificates.Lines(forward, Some asked)).Length 1 "never misdirected")
        ]
