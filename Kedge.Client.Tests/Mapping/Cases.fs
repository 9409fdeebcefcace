/// Generated mapper files and hosts. Few labels make many matches.
module Kedge.Client.Tests.Mapping.Cases

open System.Text.Json
open FsCheck.FSharp

let private labels =
    [
        "a"
        "b"
        "prod"
        "x-1"
        "evil"
        "kedge"
        "internal"
        "example"
        "com"
        "under_score"
        "UPPER"
    ]

let label = Gen.elements labels

let private anyHost =
    gen {
        let! count = Gen.choose (1, 5)
        let! labels = Gen.listOfLength count label
        let! ending = Gen.elements [ ""; ".internal.example.com"; ".internal"; ".evil.com" ]
        return String.concat "." labels + ending
    }

/// Half of the hosts are few, so that a host meets several routes.
let host =
    Gen.frequency
        [
            1, anyHost
            1,
            Gen.elements
                [
                    "a.prod.internal"
                    "a.prod.com"
                    "b.prod.internal.example.com"
                    "prod.internal"
                ]
        ]

let port = Gen.elements [ ""; ":80"; ":443"; ":6443"; ":8080" ]

/// Hosts as a caller may give them.
let authority =
    gen {
        let! host =
            Gen.frequency
                [
                    12, host
                    1, Gen.elements [ "10.0.0.1"; "127.0.0.1"; "[::1]"; "1.2.3.4"; "localhost"; "[fe80::1]" ]
                ]

        let! port = port
        let! dot = Gen.frequency [ 9, Gen.constant ""; 1, Gen.constant "." ]
        return host + (if host.StartsWith '[' then "" else dot) + port
    }

let private quote (text: string) = JsonSerializer.Serialize text

let private direct =
    gen {
        let! host = host
        let! port = port
        return $"""{{ "direct": {{ "key": {quote (host + port)}, "url": "https://fixed.kedge.example.com" }} }}"""
    }

/// Ends of kedge hosts; the law of templates looks at them.
let suffixes = [ ".kedge.example.com"; ".k.example"; "-edge.example.com" ]

let private regexp =
    gen {
        let! start = Gen.elements [ "^"; "" ]
        let! last = Gen.elements [ "$"; ""; ":6443"; ":443$"; "(:80)?$" ]

        let! group =
            Gen.elements
                [
                    "(?P<c>[a-z0-9-].*)"
                    "(?P<c>[a-z0-9-]+)"
                    "(?P<c>prod|x-1)"
                    "(?P<c>.*)"
                    "(?P<c>a)?.*"
                ]

        let! before =
            Gen.elements [ ""; "([a-z0-9-]+)[.]"; "a[.]"; @"(?:a|b)\."; "[^.]+[.]" ]

        let! after =
            Gen.elements
                [
                    "[.]internal[.]example[.]com"
                    "[.]internal"
                    @"\.com"
                    ""
                    "[.](?i:EXAMPLE).*"
                ]

        let! suffix = Gen.elements suffixes
        let! urlPort = Gen.elements [ ""; ":443"; ":18171" ]
        let exp = start + before + group + after + last
        return $"""{{ "regexp": {{ "exp": {quote exp}, "url": {quote ("https://${c}" + suffix + urlPort)} }} }}"""
    }

let private suffix =
    gen {
        let! pattern =
            Gen.elements [ "*.internal"; "*.*.internal.example.com"; "*.com"; "*.prod.*.com" ]

        return $"""{{ "suffix": {{ "pattern": {quote pattern}, "suffix": ".clusters.example.com" }} }}"""
    }

let private single =
    Gen.constant """{ "single": { "url": "https://all.kedge.example.com:8443" } }"""

let private route =
    gen {
        let! rule = Gen.frequency [ 8, direct; 8, regexp; 3, suffix; 1, single ]

        let! protocol =
            Gen.elements
                [
                    ""
                    "\"protocol\": \"HTTP\", "
                    "\"protocol\": \"GRPC\", "
                    "\"protocol\": 0, "
                ]

        let! connect =
            Gen.elements [ ""; "\"connect\": \"passthrough\", "; "\"connect\": \"refuse\", " ]

        return "{ " + protocol + connect + rule.Substring 2
    }

/// The text of a mapper file.
let mapperFile =
    gen {
        let! count = Gen.choose (1, 6)
        let! routes = Gen.listOfLength count route
        let routes = String.concat ", " routes
        return $"""{{ "routes": [ {routes} ] }}"""
    }

let private ends = [ "kedge.example.com"; "internal.example"; "k.a.test" ]

/// What `allowed_kedges` has.
let allowedKedge =
    gen {
        let! name = Gen.elements ends
        let! first = Gen.elements [ "*."; "*."; "a."; "" ]
        return first + name
    }

/// A host that a template which is nothing but a group leads to: allowed, under a name that is, or almost.
let kedgeHost =
    gen {
        let! name = Gen.elements ends
        let! first = Gen.elements [ ""; "a."; "b."; "a.b."; "evil-"; "x"; "a.evil" ]
        let! last = Gen.frequency [ 6, Gen.constant ""; 1, Gen.constant ".evil.com" ]
        return first + name + last
    }
