module Kedge.PropertyTests.RedirectLaws

open System
open System.Text
open Expecto
open FsCheck.FSharp
open Kedge.Domain

/// Gateway API's table for `ReplacePrefixMatch` (HTTPPathModifier): the prefix, the request's path, the replacement and
/// the new path.
let private prefixTable =
    [
        "/foo", "/foo/bar", "/xyz", "/xyz/bar"
        "/foo", "/foo/bar", "/xyz/", "/xyz/bar"
        "/foo/", "/foo/bar", "/xyz", "/xyz/bar"
        "/foo/", "/foo/bar", "/xyz/", "/xyz/bar"
        "/foo", "/foo", "/xyz", "/xyz"
        "/foo", "/foo/", "/xyz", "/xyz/"
        "/foo", "/foo/bar", "", "/bar"
        "/foo", "/foo/", "", "/"
        "/foo", "/foo", "", "/"
        "/foo", "/foo/", "/", "/"
        "/foo", "/foo", "/", "/"
    ]

let private load (route: string) =
    let json = $"{{ \"http\": {{ \"routes\": [ {route} ] }} }}"
    ConfigFile.loadDirector "d" (ReadOnlyMemory(Encoding.UTF8.GetBytes json))

let private redirectOf (route: string) : Redirect =
    match load route with
    | Ok director ->
        match director.Value.HttpRoutes[0].Outcome.Action with
        | Redirects redirect -> redirect
        | other -> failtestf "%A" other
    | Error errors -> failtestf "%A" errors

let private segment = Gen.elements [ "a"; "b"; "%2F"; "foo"; "x.y"; "~" ]

let private path =
    gen {
        let! segments = Gen.listOf segment |> Gen.resize 4
        let! ending = Gen.elements [ ""; "/" ]
        return "/" + String.concat "/" segments + (if segments.IsEmpty then "" else ending)
    }

let private change =
    gen {
        let! prefix =
            path
            |> Gen.map (fun path ->
                if path.EndsWith '/' then
                    path.Substring(0, path.Length - 1)
                else
                    path)

        let! replacement =
            path
            |> Gen.map (fun path ->
                if path.EndsWith '/' then
                    path.Substring(0, path.Length - 1)
                else
                    path)

        let! whole = path
        let! isWhole = Gen.elements [ true; false; false ]

        return
            if isWhole then
                WholePath whole
            else
                PathStart(prefix, replacement)
    }

type private Case =
    {
        Redirect: Redirect
        Request: HttpRequest
    }

let private case =
    gen {
        let! scheme = Gen.elements [ ""; "http"; "https" ]
        let! host = Gen.elements [ ""; "www.example.com"; "2001:db8::1" ]
        let! port = Gen.elements [ 0us; 80us; 443us; 8443us ]
        let! change = Gen.optionOf change
        let! rest = path
        let! below = Gen.elements [ true; true; false ]
        let! stripQuery = Gen.elements [ true; false ]
        let! query = Gen.elements [ ""; "a=1&b=%20"; "x=<é>#\"\r\nSet-Cookie: a" ]

        let! ports =
            Gen.elements [ AuthorityPorts.Unspecified; AuthorityPorts.Of 80us; AuthorityPorts.Of 8443us ]

        let! listener = Gen.elements [ Decoded.Listener.Tls; Decoded.Listener.Plain ]
        let! requestHost = Gen.elements [ "A.example"; "a.example."; "::1" ]

        let path =
            match change with
            | Some(PathStart(prefix, _)) when below -> prefix + rest
            | _ -> rest

        return
            {
                Redirect =
                    {
                        Scheme = scheme
                        Host = host
                        Port = port
                        Path = change
                        Status = 302
                        StripQuery = stripQuery
                    }
                Request =
                    {
                        Method = "GET"
                        Host = requestHost
                        Ports = ports
                        Path = path
                        Query = query
                        Mode = Decoded.ProxyMode.ReverseProxy
                        Listener = listener
                        Headers = []
                    }
            }
    }

let private isCanonical (path: string) = RequestPath.canonicalise path = Ok path

[<Tests>]
let tests =
    testList
        "redirects"
        [
            testList
                "Gateway API's table of prefixes"
                [
                    for prefix, path, replacement, expected in prefixTable do
                        for rule in [ prefix.TrimEnd '/' + "/**"; prefix.TrimEnd '/' + "/*" ] do
                            if rule.EndsWith "/**" || path.StartsWith(prefix.TrimEnd '/' + "/") then
                                test $"{prefix} as {rule} to '{replacement}': {path}" {
                                    let redirect =
                                        redirectOf
                                            $"{{ \"path_rules\": [\"{rule}\"], \"redirect\": {{ \"path\": {{ \"replace_prefix\": \"{replacement}\" }} }} }}"

                                    let changed = redirect.Path |> Option.map _.Of(path)
                                    Expect.equal changed (Some expected) ""
                                }
                ]

            Law.test
                "a Location is an absolute URL with what is given and the rest from the request"
                5_000
                [ "path changed", 500; "query kept", 500; "another scheme", 500; "a port", 500 ]
                (Arb.fromGen case)
                (fun seen case ->
                    let redirect, request = case.Redirect, case.Request
                    let location = HttpRequest.location redirect request

                    let scheme =
                        if request.Listener = Decoded.Listener.Plain then
                            "http"
                        else
                            "https"

                    Expect.isTrue (location |> Seq.forall (fun c -> c > ' ' && c <= '~')) location
                    Expect.isFalse (location.Contains '#') location
                    let url = Uri location
                    Expect.equal url.Scheme (if redirect.Scheme = "" then scheme else redirect.Scheme) location

                    let host =
                        if redirect.Host = "" then
                            request.Host.ToLowerInvariant().TrimEnd '.'
                        else
                            redirect.Host

                    Expect.equal (url.Host.Trim('[', ']')) host location

                    Expect.equal
                        location
                        (location.Replace(host, host.ToLowerInvariant(), StringComparison.OrdinalIgnoreCase))
                        "lower case"

                    let standard = if url.Scheme = "https" then 443 else 80

                    let port =
                        if redirect.Port <> 0us then
                            int redirect.Port
                        elif redirect.Scheme <> "" || request.Ports.Explicit = 0us then
                            standard
                        else
                            int request.Ports.Explicit

                    Expect.equal url.Port port location
                    Expect.equal (location.Contains $":{port}") (port <> standard) "a well-known port is left out"

                    match RequestText.parse ("GET", location, [], false, false) with
                    | Ok(Http again) ->
                        let expected =
                            match redirect.Path with
                            | Some change -> change.Of request.Path
                            | None -> request.Path

                        Expect.equal again.Path expected location
                        Expect.isTrue (isCanonical again.Path) location
                        Expect.equal (again.Query <> "") (request.Query <> "" && not redirect.StripQuery) location
                        seen.When("path changed", (again.Path <> request.Path))
                        seen.When("query kept", (again.Query <> ""))
                    | other -> failtestf "%s: %A" location other

                    seen.When("another scheme", (url.Scheme <> scheme))
                    seen.When("a port", (port <> standard)))

            Law.test
                "a changed path is canonical and does not leave the replacement"
                5_000
                [ "below", 1_000; "the prefix itself", 50 ]
                (Arb.fromGen (Gen.zip change path))
                (fun seen (change, rest) ->
                    match change with
                    | WholePath whole -> Expect.equal (change.Of rest) whole ""
                    | PathStart(prefix, replacement) ->
                        for path in [ prefix + rest; (if prefix = "" then "/" else prefix) ] do
                            let changed = change.Of path
                            Expect.isTrue (isCanonical changed) $"{path}: {changed}"

                            Expect.isTrue
                                (changed = replacement || changed.StartsWith(replacement + "/") || changed = "/")
                                $"{path}: {changed}"

                        seen.Count "below"
                        seen.When("the prefix itself", (rest = "/")))

            Law.test
                "a path next to the prefix stays as it is, and so does that of `OPTIONS *`"
                2_000
                [ "a prefix", 500; "the root", 100 ]
                (Arb.fromGen (Gen.zip change path))
                (fun seen (change, rest) ->
                    match change with
                    | WholePath _ -> ()
                    | PathStart("", _) ->
                        seen.Count "the root"
                        Expect.equal (change.Of "*") "*" "OPTIONS *"
                    | PathStart(prefix, _) ->
                        seen.Count "a prefix"

                        for path in [ prefix + "x"; prefix + "x" + rest; "*" ] do
                            Expect.equal (change.Of path) path $"{change}")
        ]
