module Kedge.Client.Tests.Mapping.FileTests

open System.IO
open Expecto
open Kedge.Domain
open Kedge.Client.Domain
open Kedge.Client.Tests.Mapping.Files

let private original (name: string) = File.ReadAllText(asset $"original/{name}")

/// One route, and what is wrong with it.
let private wrong (route: string) (expected: string list) =
    test $"{route} is wrong" {
        let errors = errorsOf ("{ \"routes\": [\n" + route + "\n] }") ""
        Expect.equal errors.Length expected.Length (String.concat "\n" errors)

        for error, part in List.zip errors expected do
            Expect.stringContains error part "says what and where"
    }

let private wrongSource (source: string) (expected: string list) =
    test $"{source} is wrong" {
        let mapper =
            """{ "routes": [ { "single": { "url": "https://a.kedge.example" } } ] }"""

        let errors = errorsOf mapper ("{ \"auth_sources\": [\n" + source + "\n] }")
        Expect.equal errors.Length expected.Length (String.concat "\n" errors)

        for error, part in List.zip errors expected do
            Expect.stringContains error part "says what and where"
            Expect.isFalse (error.Contains "s3cr3t") "no secret"
    }

[<Tests>]
let tests =
    testList
        "client files"
        [
            test "the original's sample files decode" {
                for mapper, sources in [ "winch_mapper.json", "winch_auth.json"; "docs_mapper.json", "docs_auth.json" ] do
                    match
                        ClientFiles.DecodeMapper(mapper, bytes (original mapper)),
                        ClientFiles.DecodeSources(sources, bytes (original sources))
                    with
                    | Ok mapper, Ok sources ->
                        Expect.isGreaterThan mapper.Routes.Length 1 "routes"
                        Expect.isGreaterThan sources.AuthSources.Length 1 "sources"
                    | Error errors, _
                    | _, Error errors -> failtestf "%s" (errors |> List.map ConfigError.describe |> String.concat "\n")
            }

            test "the original's sample mapper loads unchanged once the kedges are named, and only then" {
                let mapper, sources = original "winch_mapper.json", original "winch_auth.json"
                let errors = errorsOf mapper sources
                Expect.equal errors.Length 5 "each template is all group"

                for error in errors do
                    Expect.stringContains error "allowed_kedges" "says what helps"

                let allowed =
                    load
                        { MapperOptions.Default with
                            AllowedKedges = [ "*.kedge.example.com" ]
                        }
                        mapper
                        sources

                Expect.isEmpty allowed.Errors "no errors"

                let unguarded =
                    load
                        { MapperOptions.Default with
                            UnsafeTemplates = true
                        }
                        mapper
                        sources

                Expect.isEmpty unguarded.Errors "no errors"
                Expect.isNonEmpty (nonNull unguarded.Value).Warnings "but warnings"
            }

            test "both spellings of fields, and enums by number" {
                let file =
                    """{ "routes": [ { "proxyAuth": "p", "protocol": 2, "requireSameSite": true,
                                        "direct": { "key": "a", "url": "https://k.example" } } ] }"""

                let sources =
                    """{ "authSources": [ { "name": "p", "token": { "token": "t" } } ] }"""

                Expect.isEmpty (errorsOf file sources) "no errors"
            }

            wrong
                """{ }"""
                [
                    "mapper.json:2:1: $.routes[0]: exactly one of direct, regexp, suffix, single is required"
                ]
            wrong
                """{ "direct": { "key": "a", "url": "some-url.com" } }"""
                [ "mapper.json:2:34: $.routes[0].direct.url: must be http:// or https://" ]
            wrong
                """{ "direct": { "key": "10.0.0.1", "url": "https://a.example" } }"""
                [ "$.routes[0].direct.key: must be a host name" ]
            wrong """{ "direct": { "url": "https://a.example" } }""" [ "key is required" ]
            wrong
                """{ "regexp": { "exp": "a(b", "url": "https://a.example" } }"""
                [
                    "mapper.json:2:22: $.routes[0].regexp.exp: must be a pattern: at character 2, the group is not closed"
                ]
            wrong
                """{ "regexp": { "exp": "(?P<c>a)", "url": "https://${d}.k.example" } }"""
                [ "may only name groups of the pattern; ${d} is none of them (they are: c)" ]
            wrong
                """{ "regexp": { "exp": "(?P<c>a)", "url": "https://${c}.com" } }"""
                [ "must end in a fixed part of two labels" ]
            wrong
                """{ "regexp": { "exp": "(?P<c>a)", "url": "https://kedge.${c}" } }"""
                [ "must end in a fixed part of two labels" ]
            wrong
                """{ "regexp": { "exp": "(?P<c>a)", "url": "${c}://kedge.example" } }"""
                [ "must be http:// or https://" ]
            wrong """{ "suffix": { "pattern": "a.*", "suffix": ".b.example" } }""" [ "must begin with *." ]
            wrong """{ "suffix": { "pattern": "*.a", "suffix": ".com" } }""" [ "two labels or more" ]
            wrong
                """{ "suffix": { "pattern": "*.a", "suffix": ".b.example", "scheme": "ftp" } }"""
                [ "must be https or http" ]
            wrong
                """{ "single": { "url": "http://a.example" }, "proxy_auth": "p" }"""
                [
                    "must be https, because the route has credentials"
                    "no auth source has that name"
                ]
            wrong
                """{ "single": { "url": "https://a.example" }, "headers": { "Host": "x", "a b": "y", "ok": "a\u0000" } }"""
                [
                    "not a header that a route can set"
                    "must be the name of a header"
                    "visible ASCII"
                ]
            wrong
                """{ "single": { "url": "https://a.example" }, "tls": { "client_cert_file": "a", "server_name": "b c" } }"""
                [ "client_key_file is required"; "must be a host name" ]
            wrong
                """{ "single": { "url": "https://a.example" }, "allowed_kedges": [ "*.com" ], "timeout": "-1s" }"""
                [ "must be a host name, or *. and a name of two labels"; "must be a duration" ]
            wrong
                """{ "single": { "url": "https://a.example" }, "protcol": "HTTP" }"""
                [ "unknown field; did you mean protocol?" ]

            test "a file without routes is wrong" { Expect.equal (errorsOf "{}" "").Length 1 "an error" }

            wrongSource
                """{ "name": "a" }"""
                [ "auth.json:2:1: $.auth_sources[0]: exactly one of dummy, token, kube, oidc" ]
            wrongSource """{ "token": { "token": "s3cr3t-s3cr3t" } }""" [ "name is required" ]
            wrongSource
                """{ "name": "a", "token": "s3cr3t-s3cr3t" }"""
                [ "must be an object (not shown: the file has secrets)" ]
            wrongSource """{ "name": "a", "token": { "token": [ "s3cr3t-s3cr3t" ] } }""" [ "must be a text (not shown" ]
            wrongSource """{ "name": "a", "token": { "token": "s3cr3t s3cr3t" } }""" [ "must be visible ASCII" ]
            wrongSource
                """{ "name": "a", "token": { "token": "s3cr3t" }, }, { "name": "a", "token": { "token": s3cr3t } }"""
                [ "not shown: the file has secrets" ]
            wrongSource
                """{ "name": "a", "exec": { "command": "x", "env": { "A": [ "s3cr3t" ] } } }"""
                [ "must be a text (not shown" ]
            wrongSource
                """{ "name": "a", "oidc": { "provider": "provider", "client_id": "x" } }"""
                [ "$.auth_sources[0].oidc.provider: must be an https:// URL" ]
            wrongSource
                """{ "name": "a", "oidc": { "provider": "http://issuer.example", "client_id": "x" } }"""
                [ "must be an https:// URL" ]
            wrongSource
                """{ "name": "a", "oidc": { "provider": "https://i.example", "login_callback_path": "x", "listen": [ "0.0.0.0:80" ], "extra_params": { "state": "1" }, "store": "vault" } }"""
                [
                    "client_id is required"
                    "must be empty, or begin with /"
                    "must be a loopback address"
                    "is set by winch itself"
                    "must be one of auto, file, memory, keyring"
                ]
            wrongSource
                """{ "name": "a", "kube": {} }, { "name": "a", "exec": {} }"""
                [ "user is required"; "taken by $.auth_sources[0]"; "command is required" ]

            test "a reference to a source that is not there names the nearest" {
                let mapper =
                    """{ "routes": [ { "backend_auth": "kedgeprod", "single": { "url": "https://a.kedge.example" } } ] }"""

                let sources =
                    """{ "auth_sources": [ { "name": "kedge-prod", "token": { "token": "t" } } ] }"""

                Expect.stringContains (errorsOf mapper sources).Head "did you mean kedge-prod?" "a suggestion"
            }

            test "what is allowed and probably not meant is a warning" {
                let loaded =
                    load
                        MapperOptions.Default
                        """{ "routes": [
                            { "regexp": { "exp": "a[.]b", "url": "https://a.kedge.example" } },
                            { "direct": { "key": "x", "url": "https://a.kedge.example" } },
                            { "direct": { "key": "x", "url": "https://b.kedge.example" } },
                            { "single": { "url": "https://c.kedge.example" } },
                            { "direct": { "key": "y", "url": "https://d.kedge.example" } } ] }"""
                        ""

                let warnings = (nonNull loaded.Value).Warnings |> List.ofSeq
                Expect.equal warnings.Length 3 (String.concat "\n" warnings)
                Expect.stringContains warnings[0] "write ^ and $" "an open pattern"
                Expect.stringContains warnings[1] "routes[1] has the same key" "a second key"
                Expect.stringContains warnings[2] "routes[3] takes every host" "behind the last"
            }
        ]
