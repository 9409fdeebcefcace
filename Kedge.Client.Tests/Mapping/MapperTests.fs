module Kedge.Client.Tests.Mapping.MapperTests

open Expecto
open Kedge.Domain
open Kedge.Client.Domain
open Kedge.Client.Tests.Mapping.Files

let private decide (mapper: Mapper) (authority: string) =
    match mapper.Decide(Protocol.Http, target authority) with
    | Decision.Kedge(_, kedge) -> kedge.Url
    | Decision.BadMapping(_, reason) -> "bad: " + reason
    | Decision.Unmapped true -> "address"
    | Decision.Unmapped false -> "unmapped"

let private leads (name: string) (routes: string) (cases: (string * string) list) =
    test name {
        let mapper = mapperOf $"""{{ "routes": [ {routes} ] }}"""

        for authority, expected in cases do
            Expect.equal (decide mapper authority) expected authority
    }

[<Tests>]
let tests =
    testList
        "mapping"
        [
            leads
                "a key matches with and without the port of the scheme, whatever the case and a trailing dot"
                """{ "direct": { "key": "a.example:80", "url": "https://one.kedge.example" } },
                   { "direct": { "key": "B.example", "url": "https://two.kedge.example:8443/ignored?x" } }"""
                [
                    "a.example", "https://one.kedge.example:443"
                    "A.Example.:80", "https://one.kedge.example:443"
                    "a.example:81", "unmapped"
                    "b.example:81", "https://two.kedge.example:8443"
                ]

            leads
                "the first route that matches decides"
                """{ "regexp": { "exp": "^x", "url": "https://one.kedge.example" } },
                   { "direct": { "key": "x.example", "url": "https://two.kedge.example" } },
                   { "single": { "url": "https://three.kedge.example" } }"""
                [
                    "x.example", "https://one.kedge.example:443"
                    "y.example", "https://three.kedge.example:443"
                    "10.1.2.3", "address"
                    "[::1]:80", "address"
                ]

            leads
                "a port in the pattern demands that port"
                """{ "regexp": { "exp": "^master[.](?P<c>[a-z]+)[.]internal:6443$", "url": "https://${c}.kedge.example.com" } }"""
                [
                    "master.prod.internal:6443", "https://prod.kedge.example.com:443"
                    "master.prod.internal", "unmapped"
                ]

            leads
                "labels from the right, stars copied in their order"
                """{ "suffix": { "pattern": "*.*.clusters.local", "suffix": ".clusters.example.com" } },
                   { "suffix": { "pattern": "*.other.local", "suffix": ".other.example.com", "scheme": "http", "port": 8080 } }"""
                [
                    "svc.ns.us1.prod.clusters.local", "https://us1.prod.clusters.example.com:443"
                    "prod.clusters.local", "unmapped"
                    "us1.prod.clusters.local:50051", "https://us1.prod.clusters.example.com:443"
                    "a.other.local", "http://a.other.example.com:8080"
                    "a_b.prod.clusters.local", "bad: \"a_b.prod.clusters.example.com\" is not a host name"
                ]

            leads
                "what no kedge's host can have is not put into one"
                """{ "regexp": { "exp": "^(?P<c>.*)[.]internal$", "url": "https://${c}.kedge.example.com" } }"""
                [
                    "a_b.internal", "bad: the group c (\"a_b\") has characters that no host of a kedge has"
                    "a.b.internal", "https://a.b.kedge.example.com:443"
                ]

            leads
                "a group may be the port"
                """{ "regexp": { "exp": "^(?P<p>[0-9]+)[.]internal$", "url": "https://edge.kedge.example.com:${p}" } }"""
                [
                    "8443.internal", "https://edge.kedge.example.com:8443"
                    "99999.internal", "bad: \"99999\" is not a port"
                ]

            test "a crafted host does not choose the server, though the template is all group" {
                let file =
                    """{ "allowed_kedges": [ "*.kedge.example.com" ],
                         "routes": [ { "regexp": { "exp": "^svc[.](?P<c>.*)[.]internal", "url": "https://${c}" } } ] }"""

                let mapper = mapperOf file

                Expect.equal
                    (decide mapper "svc.a.kedge.example.com.internal")
                    "https://a.kedge.example.com:443"
                    "one's own"

                for stranger in
                    [
                        "svc.evil.com.internal"
                        "svc.evilkedge.example.com.internal"
                        "svc.kedge.example.com.internal"
                    ] do
                    Expect.stringStarts (decide mapper stranger) "bad: " stranger
            }

            test "routes for gRPC are not for HTTP" {
                let mapper =
                    mapperOf
                        """{ "routes": [ { "protocol": "GRPC", "single": { "url": "https://g.kedge.example" } },
                                         { "protocol": 1, "single": { "url": "https://h.kedge.example" } } ] }"""

                Expect.equal (decide mapper "a") "https://h.kedge.example:443" "HTTP"

                match mapper.Decide(Protocol.Grpc, target "a") with
                | Decision.Kedge(_, kedge) -> Expect.equal kedge.Host "g.kedge.example" "gRPC"
                | _ -> failtest "it is mapped"
            }

            test "hosts that are no hosts are no targets" {
                for text in
                    [
                        ""
                        "a b"
                        "http://a"
                        "u@a"
                        "a:0"
                        "a:99999"
                        "a..b"
                        "[::1"
                        "ü.example"
                        "a/b"
                    ] do
                    Expect.isFalse (fst (Target.TryParse(text, 80))) text
            }
        ]

[<Tests>]
let noProxy =
    let exempts (list: string) (authority: string) = (NoProxy.Parse list).Exempts(target authority)

    testList
        "no_proxy"
        [
            test "names with what is under them, addresses, networks, ports" {
                let list =
                    "a.example, .b.example,*.c.example,10.0.0.0/8,192.0.2.7:8080,d.example:8080,2001:db8::/32,[::2]"

                for yes in
                    [
                        "a.example"
                        "x.a.example:444"
                        "x.b.example"
                        "x.c.example"
                        "10.9.9.9"
                        "192.0.2.7:8080"
                        "d.example:8080"
                        "[2001:db8::5]"
                        "[::2]:99"
                        "localhost:1"
                        "127.0.0.9"
                        "x.localhost"
                    ] do
                    Expect.isTrue (exempts list yes) yes

                for no in
                    [
                        "b.example"
                        "c.example"
                        "xa.example"
                        "11.0.0.1"
                        "192.0.2.7"
                        "d.example"
                        "[2001:db9::5]"
                    ] do
                    Expect.isFalse (exempts list no) no
            }

            test "a star exempts everything, and nothing exempts loopback alone" {
                Expect.isTrue (exempts "*" "a.example") "star"
                Expect.isFalse (exempts "" "a.example") "nothing"
                Expect.isTrue (exempts "" "[::1]:80") "loopback"
                Expect.isFalse (exempts ",,.,:" "a.example") "no entries"
            }
        ]

[<Tests>]
let pac =
    let options =
        {
            Proxy = "127.0.0.1:8070"
            Fallback = PacFallback.Direct
            Upstream = ""
        }

    testList
        "proxy auto-configuration"
        [
            test "texts from the file cannot leave their quotation marks" {
                let mapper =
                    mapperOf
                        """{ "routes": [ { "regexp": { "exp": "^\"[/]\\\\+</script>$", "url": "https://a.kedge.example" } } ] }"""

                let script = Script(Pac.ofMapper mapper options)
                Expect.equal (script.Find("http://a/", "a")) "DIRECT" "it runs"

                let script = Script(Pac.ofPatterns [ "\"); throw 1; (\"" ] options)
                Expect.equal (script.Find("http://a.b/", "a.b")) "DIRECT" "it runs, too"
            }

            test "another script decides for what is not mapped" {
                let mapper =
                    mapperOf
                        """{ "routes": [ { "direct": { "key": "a.example", "url": "https://a.kedge.example" } } ] }"""

                let upstream =
                    "var proxy = 'PROXY corporate:3128';\nfunction FindProxyForURL(url, host) { return proxy; }"

                let script = Script(Pac.ofMapper mapper { options with Upstream = upstream })
                Expect.equal (script.Find("http://a.example/", "a.example")) "PROXY 127.0.0.1:8070; DIRECT" "mapped"
                Expect.equal (script.Find("http://b.example/", "b.example")) "PROXY corporate:3128" "not mapped"
                Expect.equal (script.Find("https://a.example/", "a.example")) "PROXY corporate:3128" "https"
            }

            test "shell patterns: plain http of the hosts that match; without patterns of all hosts with a dot" {
                let script = Script(Pac.ofPatterns [ "*.*.internal.example.com"; "x.?" ] options)
                let find scheme host = script.Find($"{scheme}://{host}/", host)
                Expect.equal (find "http" "a.b.internal.example.com") "PROXY 127.0.0.1:8070; DIRECT" "matches"
                Expect.equal (find "http" "x.y") "PROXY 127.0.0.1:8070; DIRECT" "matches the second"
                Expect.equal (find "http" "internal.example.com") "DIRECT" "does not match"
                Expect.equal (find "https" "a.b.internal.example.com") "DIRECT" "https"
                let all = Script(Pac.ofPatterns [] options)
                Expect.equal (all.Find("http://a.b/", "a.b")) "PROXY 127.0.0.1:8070; DIRECT" "all"
                Expect.equal (all.Find("http://plain/", "plain")) "DIRECT" "a plain name"
            }

            test "the version changes with the script" {
                Expect.notEqual (Pac.version "a") (Pac.version "b") "versions"
                Expect.equal (Pac.version "a").Length 12 "short"
            }
        ]
