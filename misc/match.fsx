// Where does this request go? Matches one HTTP request against misc/director.json and prints the rule that matches it.
//
//   dotnet fsi misc/match.fsx
//   dotnet fsi misc/match.fsx localhost:8443 /api/users x-env=canary
//   dotnet fsi misc/match.fsx [v6-or-host][:port] [path] [header=value …]
//
// No server runs: the script reads the rules, and the proxy's own core decides.

#load "../Kedge.Domain/load.fsx"

open System
open System.IO
open Kedge.Domain

// 1. The request, from the command line. Everything has a default, so the script also runs without arguments.
let arguments = fsi.CommandLineArgs |> Array.skip 1 |> Array.toList

let authorityText, pathText, headers =
    match arguments with
    | [] -> "localhost:8443", "/api/users", [ ("x-env", "canary") ]
    | [ authority ] -> authority, "/", []
    | authority :: path :: headers ->
        let pair (text: string) =
            match text.Split('=', 2) with
            | [| name; value |] -> name, value
            | _ -> text, ""

        authority, path, List.map pair headers

// 2. An authority is a host and an optional port; without a port it stands for both default ports. Paths are compared
//    in their canonical form. Both parsers return a failure instead of throwing.
let mutable authority = Unchecked.defaultof<Authority>

if not (Authority.TryParse(authorityText.AsSpan(), &authority)) then
    eprintfn "%s is not a host with an optional port" authorityText
    exit 2

let path =
    match RequestPath.canonicalise pathText with
    | Ok path -> path
    | Error problem ->
        eprintfn "%s: %s" pathText problem
        exit 2

let request: HttpRequest =
    {
        Method = "GET"
        Host = authorityText.Substring(authority.HostStart, authority.HostLength)
        Ports = authority.Ports
        Path = path
        Query = ""
        Mode = Decoded.ProxyMode.ReverseProxy
        Listener = Decoded.Listener.Tls
        Headers = headers
    }

// 3. The rules, decoded and validated; or all errors in the file, each with its position.
let file = "misc/director.json"
let json = File.ReadAllBytes(Path.Combine(__SOURCE_DIRECTORY__, "director.json"))

match ConfigFile.loadDirector file (ReadOnlyMemory json) with
| Error errors ->
    for error in errors do
        eprintfn "%s" (ConfigError.describe error)

    exit 1
| Ok director ->
    // 4. The router returns the first matching route. If none matches, the ad-hoc rules decide.
    let routes = director.Value.HttpRoutes
    let place path = director.Source.Locate(path).Line

    match Router.matchHttp routes request with
    | Some index ->
        let line = place [ Field "http"; Field "routes"; Step.Index index ]
        printfn "%s%s -> backend %s" authorityText path routes[index].Outcome.Action.Text
        printfn "  route %d at %s:%d: %s" index file line routes[index].Text
    | None ->
        match Adhoc.decide director.Value.AdhocRules.Http request.Host request.Ports with
        | Target(rule, name, port) ->
            let line = place [ Field "http"; Field "adhoc_rules"; Step.Index rule ]
            printfn "%s%s -> %s:%d, by ad-hoc rule %d at %s:%d" authorityText path name port rule file line
        | NoRule -> printfn "%s%s -> no route, no ad-hoc rule" authorityText path
        | refused -> printfn "%s%s -> refused: %A" authorityText path refused
