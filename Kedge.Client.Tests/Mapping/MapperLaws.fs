module Kedge.Client.Tests.Mapping.MapperLaws

open Expecto
open FsCheck.FSharp
open Kedge.Domain
open Kedge.Client.Domain
open Kedge.Client.Tests.Mapping.Files
open Kedge.PropertyTests

let private pacOptions =
    {
        Proxy = "127.0.0.1:8070"
        Fallback = PacFallback.None
        Upstream = ""
    }

let private withAuthorities =
    Arb.fromGen (Gen.zip Cases.mapperFile (Gen.listOfLength 12 Cases.authority))

/// The specification: the first route that takes the protocol and matches.
let private reference (mapper: Mapper) (protocol: Protocol) (target: Target) : Route option =
    if target.IsAddress then
        None
    else
        mapper.Routes
        |> Seq.tryFind (fun route -> route.Takes protocol && route.Matches target)

let private routeOf (decision: Decision) =
    match decision with
    | Decision.Kedge(route, _)
    | Decision.BadMapping(route, _) -> Some route
    | Decision.Unmapped _ -> None

let private indexOf (route: Route option) = route |> Option.map _.Index

[<Tests>]
let laws =
    testList
        "laws of mapping"
        [
            Law.test
                "the mapper agrees with a walk through the routes"
                300
                [ "mapped", 300; "unmapped", 300; "address", 20; "direct before others", 30 ]
                withAuthorities
                (fun seen (file, authorities) ->
                    let mapper = mapperOf file

                    for authority in authorities do
                        let target = target authority

                        for protocol in Protocol.All do
                            let decision = mapper.Decide(protocol, target)
                            seen.Count(if decision.IsMapped then "mapped" else "unmapped")
                            seen.When("address", target.IsAddress)

                            let matching =
                                mapper.Routes
                                |> Seq.filter (fun route -> route.Takes protocol && route.Matches target)
                                |> Seq.map _.Rule.IsDirect
                                |> List.ofSeq

                            seen.When(
                                "direct before others",
                                (not target.IsAddress
                                 && List.tryHead matching = Some true
                                 && List.contains false matching)
                            )

                            Expect.equal
                                (indexOf (routeOf decision))
                                (indexOf (reference mapper protocol target))
                                $"{protocol} {authority}")

            Law.test
                "the PAC says proxy exactly when the mapper says kedge"
                150
                [ "proxy", 300; "direct", 300; "secure proxy", 50 ]
                withAuthorities
                (fun seen (file, authorities) ->
                    let mapper = mapperOf file
                    let script = Script(Pac.ofMapper mapper pacOptions)

                    for authority in authorities do
                        for scheme in [ "http"; "https"; "ws"; "wss"; "ftp"; "HTTP" ] do
                            let isSecure = scheme = "https" || scheme = "wss"

                            match Target.TryParse(authority, (if isSecure then 443 else 80)) with
                            | true, NonNull target ->
                                let decision = mapper.Decide(Protocol.Http, target)

                                let expected =
                                    match routeOf decision with
                                    | Some route when scheme <> "ftp" && (not isSecure || route.TakesConnect) ->
                                        "PROXY 127.0.0.1:8070"
                                    | _ -> "DIRECT"

                                // A browser hands over the host without port, and perhaps with brackets.
                                let host =
                                    if authority.StartsWith '[' then
                                        authority.Substring(0, authority.IndexOf ']' + 1)
                                    else
                                        (authority.Split ':')[0]

                                let said = script.Find($"{scheme}://{authority}/path?x=http://y:9/", host)
                                seen.When("proxy", expected <> "DIRECT")
                                seen.When("secure proxy", expected <> "DIRECT" && isSecure)
                                seen.When("direct", (expected = "DIRECT"))
                                Expect.equal said expected $"{scheme}://{authority}\n{file}"
                            | _ -> failtestf "%s is no target" authority)

            Law.test
                "whatever a host is, a template leads nowhere but under its literal suffix"
                500
                [ "kedge", 300; "no kedge", 30 ]
                withAuthorities
                (fun seen (file, authorities) ->
                    let mapper = mapperOf file

                    for authority in authorities do
                        match mapper.Decide(Protocol.Http, target authority) with
                        | Decision.Kedge(route, kedge) ->
                            match route.Rule with
                            | RouteRule.Regexp(_, template, _) ->
                                seen.Count "kedge"
                                // The text behind the group, from its first dot, is what the file's author wrote.
                                let literal = (template.Text.Split '}')[1]
                                let literal = (literal.Split ':')[0]
                                let suffix = literal.Substring(literal.IndexOf '.')
                                Expect.stringEnds kedge.Host suffix authority
                                Expect.isTrue (HostName.isName (System.MemoryExtensions.AsSpan kedge.Host)) kedge.Host
                                Expect.isTrue kedge.IsTls "https"
                            | RouteRule.Suffix rule -> Expect.stringEnds kedge.Host rule.Suffix authority
                            | _ -> ()
                        | Decision.BadMapping _ -> seen.Count "no kedge"
                        | Decision.Unmapped _ -> ())

            Law.test
                "a template that is nothing but a group leads to an allowed kedge, and to all of these"
                1000
                [ "kedge", 300; "no kedge", 300; "ends so without a dot", 20 ]
                (Arb.fromGen (Gen.zip (Gen.nonEmptyListOf Cases.allowedKedge) Cases.kedgeHost))
                (fun seen (patterns, host) ->
                    let list = System.String.Join("\", \"", patterns)

                    let mapper =
                        mapperOf
                            $$"""{ "routes": [ { "regexp": { "exp": "^(?P<c>[^:]+)$", "url": "https://${c}" } } ],
                                   "allowed_kedges": [ "{{list}}" ] }"""

                    let labels = List.ofArray (host.Split '.')

                    let isAllowed =
                        patterns
                        |> List.exists (fun (pattern: string) ->
                            match List.ofArray (pattern.Split '.') with
                            | "*" :: rest ->
                                labels.Length > rest.Length
                                && List.skip (labels.Length - rest.Length) labels = rest
                            | name -> labels = name)

                    seen.When(
                        "ends so without a dot",
                        not isAllowed
                        && patterns
                           |> List.exists (fun pattern -> host.EndsWith(pattern.TrimStart('*', '.')))
                    )

                    match mapper.Decide(Protocol.Http, target host) with
                    | Decision.Kedge(_, kedge) ->
                        seen.Count "kedge"
                        Expect.isTrue isAllowed $"{host}: %A{patterns}"
                        Expect.equal kedge.Host host "the kedge"
                    | Decision.BadMapping _ ->
                        seen.Count "no kedge"
                        Expect.isFalse isAllowed $"{host}: %A{patterns}"
                    | Decision.Unmapped _ -> failtest host)

            Law.test
                "an explanation ends in the mapper's decision"
                300
                [ "mapped", 200; "unmapped", 200 ]
                withAuthorities
                (fun seen (file, authorities) ->
                    let mapper = mapperOf file

                    for authority in authorities do
                        for protocol in Protocol.All do
                            let target = target authority
                            let explanation = Explain.explain mapper protocol target
                            let decision = mapper.Decide(protocol, target)

                            Expect.equal
                                (indexOf (routeOf explanation.Decision))
                                (indexOf (routeOf decision))
                                authority

                            match decision with
                            | Decision.Kedge(route, kedge) ->
                                seen.Count "mapped"
                                Expect.equal explanation.Steps.Count (route.Index + 1) "a line for each route"
                                Expect.stringEnds (Seq.last explanation.Steps) kedge.Url authority
                            | Decision.BadMapping _ -> ()
                            | Decision.Unmapped isAddress ->
                                seen.Count "unmapped"

                                if not isAddress then
                                    Expect.equal explanation.Steps.Count mapper.Routes.Count "a line for each route")

            Law.test
                "a changed file is loaded or has errors, and nothing throws"
                1000
                [ "errors", 300; "loaded", 50 ]
                (Arb.fromGen (
                    gen {
                        let! file = Cases.mapperFile
                        let! at = Gen.choose (0, file.Length - 1)
                        let! length = Gen.choose (0, 4)

                        let! text =
                            Gen.elements [ ""; "\""; "{"; "]"; "${"; "x"; "("; "\\\\"; "*."; "é"; "null" ]

                        return file.Substring(0, at) + text + file.Substring(min file.Length (at + length))
                    }
                ))
                (fun seen file ->
                    let loaded = load MapperOptions.Default file ""
                    seen.Count(if loaded.IsValid then "loaded" else "errors")

                    for error in loaded.Errors do
                        Expect.isTrue (error.StartsWith("mapper.json:", System.StringComparison.Ordinal)) error)

            Law.test
                "a glob matches as the regular expression that it stands for"
                2000
                [ "matched", 200; "not matched", 500 ]
                (Arb.fromGen (
                    let text letters = Gen.elements letters |> Gen.listOf |> Gen.map (String.concat "")
                    Gen.zip (text [ "a"; "b"; "."; "*"; "?"; "A" ]) (text [ "a"; "b"; "." ])
                ))
                (fun seen (pattern, text) ->
                    let expected =
                        let escaped =
                            System.Text.RegularExpressions.Regex
                                .Escape(pattern.ToLowerInvariant())
                                .Replace(@"\*", ".*")
                                .Replace(@"\?", ".")

                        System.Text.RegularExpressions.Regex.IsMatch(text, $@"^{escaped}\z")

                    seen.Count(if expected then "matched" else "not matched")
                    Expect.equal (HostGlob.isMatch pattern text) expected $"{pattern} on {text}")
        ]
