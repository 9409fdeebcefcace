/// Throws mutated input at everything in the core that reads what callers and files say: `-- --fuzz <cases> [--seed
/// <n>]`. Unlike the laws it generates blindly and by the million. Its corpus is the folder `corpus`: a find that was
/// repaired is added there.
module Kedge.PropertyTests.Fuzz

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Text
open Kedge.Domain

type private Finding(what: string) =
    inherit Exception(what)

let private expect condition what =
    if not condition then
        raise (Finding what)

let private corpus =
    let rec climb (folder: DirectoryInfo | null) =
        match folder with
        | null -> failwith $"no Kedge.sln above {AppContext.BaseDirectory}"
        | folder when File.Exists(Path.Combine(folder.FullName, "Kedge.sln")) -> folder.FullName
        | folder -> climb folder.Parent

    lazy Path.Combine(climb (DirectoryInfo AppContext.BaseDirectory), "Kedge.PropertyTests", "corpus")

let private lines name = File.ReadAllLines(Path.Combine(corpus.Value, name))

/// Deterministic for a seed.
type private Mutator(seed: int) =
    let random = Random seed
    let pieces = lines "pieces.txt"
    member _.Next(limit: int) = random.Next limit
    member _.Pick(items: 'a array) = items[random.Next items.Length]

    member _.Character() =
        match random.Next 8 with
        | 0 -> char (random.Next 0x10000)
        | 1 -> char (random.Next 0x100)
        | 2 -> char (random.Next 0x20)
        | _ -> char (0x20 + random.Next 0x5F)

    /// The text with up to four changes, or none.
    member this.Mutate(text: string, others: string array) =
        let changed = StringBuilder text

        for _ in 1 .. random.Next 5 do
            let at = random.Next(changed.Length + 1)
            let rest = changed.Length - at

            match random.Next 7 with
            | 0 -> changed.Remove(at, random.Next(min rest 8 + 1)) |> ignore
            | 1 -> changed.Insert(at, this.Character()) |> ignore
            | 2
            | 3 -> changed.Insert(at, this.Pick pieces) |> ignore
            | 4 when rest > 0 -> changed[at] <- this.Character()
            | 5 ->
                let again = changed.ToString(at, random.Next(min rest 40 + 1))
                changed.Insert(at, again) |> ignore
            | _ ->
                let other = this.Pick others
                changed.Insert(at, other.Substring(random.Next(other.Length + 1))) |> ignore

        changed.ToString()

let private checkPath (path: string) =
    match RequestPath.canonicalise path with
    | Error reason ->
        expect (reason <> "") "a refusal without a reason"
        expect (not (RequestPath.isCanonical (path.AsSpan()))) "canonical, yet refused"
        None
    | Ok canonical ->
        expect (RequestPath.isCanonical (canonical.AsSpan())) $"'{canonical}' is not canonical"
        expect (RequestPath.canonicalise canonical = Ok canonical) $"'{canonical}' has another form"
        expect (canonical = "*" || canonical[0] = '/') $"'{canonical}' is below no root"
        expect (not (canonical.Contains "//")) $"an empty segment in '{canonical}'"

        for segment in canonical.Split '/' do
            expect (segment <> "." && segment <> "..") $"a dot segment in '{canonical}'"

        for c in canonical do
            expect (c > ' ' && c <= '~' && c <> '\\' && c <> '?' && c <> '#') $"'{c}' in '{canonical}'"

        Some canonical

let private checkAuthority (text: string) =
    let mutable parts = Unchecked.defaultof<Authority>

    if Authority.TryParse(text.AsSpan(), &parts) then
        expect (parts.HostStart >= 0 && parts.HostLength > 0) "no host"
        expect (parts.HostStart + parts.HostLength <= text.Length) "a host beyond the text"
        expect (parts.Port = -1 || (parts.Port > 0 && parts.Port < 65536)) $"port {parts.Port}"
        let host = text.Substring(parts.HostStart, parts.HostLength)

        for c in host do
            expect (Char.IsAsciiLetterOrDigit c || ".-_:".Contains c) $"'{c}' in the host '{host}'"

        expect (not (host.EndsWith '.') && host.Length <= HostName.MaxLength) $"the host '{host}'"

        if HostName.endsInNumber (host.AsSpan()) && not (host.Contains ':') then
            expect (host = string (Net.IPAddress.Parse host)) $"the address '{host}'"

        let canonical = parts.Canonical text
        let mutable again = Unchecked.defaultof<Authority>
        expect (Authority.TryParse(canonical.AsSpan(), &again)) $"'{canonical}' is not an authority"
        expect (again.Canonical canonical = canonical && again.Port = parts.Port) $"'{canonical}' is not canonical"
        Some(host, parts.Ports)
    else
        None

let private checkTarget (text: string) =
    let mutable parts = Unchecked.defaultof<RequestTarget>

    if RequestTarget.TryParse(text.AsSpan(), &parts) then
        let within start length = start >= 0 && length >= 0 && start + length <= text.Length

        expect (within parts.AuthorityStart parts.AuthorityLength) "an authority beyond the text"
        expect (within parts.PathStart parts.PathLength) "a path beyond the text"
        expect (within parts.QueryStart parts.QueryLength) "a query beyond the text"
        expect (parts.QueryLength = 0 || text[parts.QueryStart] = '?') "a query without its mark"

        expect
            (parts.AuthorityStart + parts.AuthorityLength <= parts.PathStart
             || parts.PathLength = 0)
            "an overlap"

        for c in text do
            expect (c > ' ' && c <> '\127') "a blank or control character in a target"

        checkPath (text.Substring(parts.PathStart, parts.PathLength)) |> ignore

        checkAuthority (text.Substring(parts.AuthorityStart, parts.AuthorityLength))
        |> ignore

        true
    else
        false

let private headers =
    [| []; [ "X-Env", "prod" ]; [ "env", "prod"; "x-env", "test" ] |]

/// The compiled tables against the reference router; yields whether a route took the request.
let private checkTables (mutator: Mutator) (configuration: Configuration) (host, ports) (path: string) =
    let director = configuration.Director

    let request: HttpRequest =
        {
            Method = mutator.Pick [| "GET"; "POST"; "get" |]
            Host = host
            Ports = ports
            Path = path
            Query = mutator.Pick [| ""; "v=1"; "v=2&v=1"; "a%20b=x+y"; "%zz&&=&v" |]
            Mode =
                if mutator.Next 2 = 0 then
                    Decoded.ProxyMode.ForwardProxy
                else
                    Decoded.ProxyMode.ReverseProxy
            Listener =
                if mutator.Next 4 = 0 then
                    Decoded.Listener.Plain
                else
                    Decoded.Listener.Tls
            Headers = mutator.Pick headers
        }

    let view = HeaderList request.Headers

    let found =
        configuration.HttpRouteTable.Match(
            request.Method.AsSpan(),
            host.AsSpan(),
            ports,
            path.AsSpan(),
            request.Query.AsSpan(),
            request.Mode,
            request.Listener,
            &view
        )

    let expected =
        Router.matchHttp director.HttpRoutes request |> Option.defaultValue -1

    expect (found = expected) $"HTTP table: {found}, reference: {expected}, for %A{request}"
    let full = path.Substring 1
    let slash = full.LastIndexOf '/'

    let call: GrpcRequest =
        {
            Host = host
            Ports = ports
            Service = if slash < 0 then full else full.Substring(0, slash)
            Method = if slash < 0 then "" else full.Substring(slash + 1)
            Listener = request.Listener
            Metadata = request.Headers
        }

    let foundGrpc =
        configuration.GrpcRouteTable.Match(
            host.AsSpan(),
            ports,
            call.Service.AsSpan(),
            (call.Service + "/" + call.Method).AsSpan(),
            call.Listener,
            &view
        )

    let expectedGrpc =
        Router.matchGrpc director.GrpcRoutes call |> Option.defaultValue -1

    expect (foundGrpc = expectedGrpc) $"gRPC table: {foundGrpc}, reference: {expectedGrpc}, for %A{call}"

    match configuration.DecideAdhoc(Protocol.Http, host, ports) with
    | Target(_, name, _) -> expect (HostName.isHost (name.AsSpan())) $"an ad-hoc rule leads to '{name}'"
    | _ -> ()

    found >= 0 || foundGrpc >= 0

let private load (json: string) =
    let bytes = Encoding.UTF8.GetBytes json
    let loaded = Configuration.Load("director.json", bytes, "", ReadOnlyMemory.Empty)

    match loaded.Value with
    | null ->
        expect (loaded.Errors.Count > 0) "nothing, and no error"
        Seq.iter (fun error -> expect (error <> "") "an empty error") loaded.Errors
        None
    | configuration ->
        expect (loaded.Errors.Count = 0) "a configuration with errors"
        Some configuration

/// Runs the cases and prints what became of them. 0 = nothing was found; 1 = something was, and it is printed, or the
/// corpus has gone stale: too few of the cases were valid enough to reach the code behind the first checks.
let run (cases: int) (seed: int) : int =
    let mutator = Mutator seed

    let targets, authorities, paths =
        lines "targets.txt", lines "authorities.txt", lines "paths.txt"

    let files =
        Directory.GetFiles(corpus.Value, "*.json")
        |> Array.sort
        |> Array.map File.ReadAllText

    let mutable configuration = files |> Array.pick load

    let counts = Dictionary<string, int>()

    let count what =
        match counts.TryGetValue what with
        | true, number -> counts[what] <- number + 1
        | _ -> counts[what] <- 1

    let watch = Stopwatch.StartNew()
    let mutable finding = false
    let mutable i = 0

    while i < cases && not finding do
        let mutable input = ""

        try
            match mutator.Next 20 with
            | 0 ->
                input <- mutator.Mutate(mutator.Pick files, files)

                match load input with
                | Some loaded ->
                    count "configuration: taken"
                    configuration <- loaded
                | None -> count "configuration: refused"
            | n when n < 5 ->
                input <- mutator.Mutate(mutator.Pick targets, targets)
                let isTaken = checkTarget input
                count (if isTaken then "target: taken" else "target: refused")
            | n when n < 9 ->
                input <- mutator.Mutate(mutator.Pick authorities, authorities)

                count (
                    if (checkAuthority input).IsSome then
                        "authority: taken"
                    else
                        "authority: refused"
                )
            | n when n < 14 ->
                input <- mutator.Mutate(mutator.Pick paths, paths)

                count (
                    if (checkPath input).IsSome then
                        "path: taken"
                    else
                        "path: refused"
                )
            | _ ->
                let authority = mutator.Mutate(mutator.Pick authorities, authorities)
                let path = mutator.Mutate(mutator.Pick paths, paths)
                input <- $"{authority} {path}"

                match checkAuthority authority, checkPath path with
                | Some host, Some canonical ->
                    let matched = checkTables mutator configuration host canonical
                    count (if matched then "request: routed" else "request: not routed")
                | _ -> count "request: refused"
        with error ->
            finding <- true
            printfn "case %d of seed %d: %s" i seed error.Message
            printfn "input, as UTF-8 in base64: %s" (Convert.ToBase64String(Encoding.UTF8.GetBytes input))

            if not (error :? Finding) then
                printfn "%O" error

        i <- i + 1

    for entry in counts |> Seq.sortBy _.Key do
        printfn "%9d %s" entry.Value entry.Key

    let mixed =
        cases < 10_000
        || (counts.Count = 11
            && counts.Values |> Seq.forall (fun number -> number > cases / 2000))

    if not mixed then
        printfn "too few of one kind: the corpus no longer reaches everything"

    printfn
        "%d cases, seed %d, %.0f s: %s"
        i
        seed
        watch.Elapsed.TotalSeconds
        (if finding then "found something" else "found nothing")

    if finding || not mixed then 1 else 0

/// The number behind a word, if both are there.
let private number (arguments: string array) (word: string) =
    match Array.tryFindIndex ((=) word) arguments with
    | Some at when at + 1 < arguments.Length ->
        match Int32.TryParse arguments[at + 1] with
        | true, value when value >= 0 -> Some value
        | _ -> None
    | _ -> None

/// The exit code, when the arguments ask for it.
let tryRun (arguments: string array) : int option =
    if Array.contains "--fuzz" arguments then
        match number arguments "--fuzz" with
        | Some cases -> Some(run cases (number arguments "--seed" |> Option.defaultValue (Random.Shared.Next())))
        | None ->
            eprintfn "--fuzz: how many cases? Such as --fuzz 1000000 --seed 1"
            Some 2
    else
        None
