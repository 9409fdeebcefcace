namespace Kedge.Client.Domain

open System
open System.Security.Cryptography
open System.Text
open System.Text.Json
open Kedge.Domain

/// What a browser does with a mapped host when the proxy does not answer.
type PacFallback =
    /// It shows an error, so that a proxy that is down is noticed.
    | None = 0
    /// It tries the host itself.
    | Direct = 1

/// The settings of the proxy auto-configuration.
type PacOptions =
    {
        /// `host:port` of the proxy.
        Proxy: string
        Fallback: PacFallback
        /// Another script that decides for unmapped hosts; empty = these go direct.
        Upstream: string
    }

/// Proxy auto-configuration scripts. They use ECMAScript 3 only, because the script engines of operating systems are
/// old.
[<RequireQualifiedAccess>]
module Pac =

    let private json (text: string) = JsonSerializer.Serialize text

    let private proxy (options: PacOptions) =
        json (
            "PROXY "
            + options.Proxy
            + (if options.Fallback = PacFallback.Direct then
                   "; DIRECT"
               else
                   "")
        )

    let private condition (route: Route) =
        let regexp (source: string) = $"new RegExp({json source})"

        match route.Rule with
        | RouteRule.Direct(key, _) when key.Contains ':' -> $"authority == {json key}"
        | RouteRule.Direct(key, _) -> $"name == {json key}"
        | RouteRule.Regexp(pattern, _, _) ->
            let pattern = regexp pattern.JavaScript
            $"{pattern}.test(name) || {pattern}.test(authority)"
        | RouteRule.Suffix suffix -> $"{regexp suffix.JavaScript}.test(name)"
        | RouteRule.Single _ -> "true"

    /// Wraps the other script: its function gets another name, and its variables stay private.
    let private upstream (options: PacOptions) (text: StringBuilder) =
        if options.Upstream <> "" then
            text
                .Append("var upstream = (function () {\n")
                .Append(options.Upstream)
                .Append("\nreturn FindProxyForURL;\n}());\n\n")
            |> ignore

    let private unmapped (options: PacOptions) =
        if options.Upstream = "" then
            "\"DIRECT\""
        else
            "upstream(url, host)"

    /// Sends a URL to the proxy exactly when the mapper has a route for it: http and ws, and https and wss where the
    /// route accepts CONNECT.
    [<CompiledName "OfMapper">]
    let ofMapper (mapper: Mapper) (options: PacOptions) : string =
        let text = StringBuilder()
        upstream options text

        let add (line: string) = text.Append(line).Append('\n') |> ignore
        add "function FindProxyForURL(url, host) {"
        add $"  var proxy = {proxy options};"
        // The script parses the URL itself: the scheme, and the port after user name and host.
        add
            "  var parts = /^([A-Za-z][A-Za-z0-9+.\\-]*):\\/\\/(?:[^\\/?#@]*@)?(?:\\[[^\\]]*\\]|[^\\/?#:]*)(?::([0-9]+))?/.exec(url);"

        add "  var scheme = parts ? parts[1].toLowerCase() : \"\";"
        add "  var secure = scheme == \"https\" || scheme == \"wss\";"
        add $"  if (!secure && scheme != \"http\" && scheme != \"ws\") return {unmapped options};"
        add "  var name = host.toLowerCase().replace(/^\\[|\\]$/g, \"\").replace(/\\.$/, \"\");"
        add $"  if (/^[0-9]*(\\.[0-9]*){{3}}$/.test(name) || name.indexOf(\":\") >= 0) return {unmapped options};"
        add "  var port = parts[2] ? Number(parts[2]) : secure ? 443 : 80;"
        add "  var authority = name + \":\" + port;"

        for route in mapper.Routes do
            if route.Takes Protocol.Http then
                let action =
                    if route.TakesConnect then
                        "return proxy;"
                    else
                        $"return secure ? {unmapped options} : proxy;"

                add $"  if ({condition route}) {action}"

        add $"  return {unmapped options};"
        add "}"
        text.ToString()

    /// Sends http and ws URLs to the proxy if one of the patterns matches their host; without patterns, all of them.
    /// Hosts without a dot go direct.
    [<CompiledName "OfPatterns">]
    let ofPatterns (patterns: string seq) (options: PacOptions) : string =
        let text = StringBuilder()
        upstream options text

        let add (line: string) = text.Append(line).Append('\n') |> ignore
        let patterns = List.ofSeq patterns
        add "function FindProxyForURL(url, host) {"
        add $"  if (isPlainHostName(host) || !/^(http|ws):/i.test(url)) return {unmapped options};"

        if patterns.IsEmpty then
            add $"  return {proxy options};"
        else
            for pattern in patterns do
                add $"  if (shExpMatch(host, {json pattern})) return {proxy options};"

            add $"  return {unmapped options};"

        add "}"
        text.ToString()

    /// A short text that changes with the script. Systems cache a script until its URL changes.
    [<CompiledName "Version">]
    let version (script: string) : string =
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes script).AsSpan(0, 6))
