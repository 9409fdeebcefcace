/// Requests around a table: what its routes ask for, near misses of it, and now and then something else.
module Kedge.PropertyTests.Tool.Around

open System
open Kedge.Domain

/// Everything that a table's routes mention. A request is put together from one route's conditions, with a part of it
/// taken from here or changed a little.
type private Vocabulary =
    {
        Hosts: string array
        Ports: uint16 array
        Texts: string array
        Headers: (string * string) array
        Methods: string array
        Query: (string * string) array
    }

let private pick (random: Random) (items: 'item array) = items[random.Next items.Length]

let private chance (random: Random) percent = random.Next 100 < percent

/// A header that meets the condition.
let private headerOf (name: string, condition: TextCondition) =
    match condition with
    | Exactly value -> name, value
    | StartingWith prefix -> name, prefix + "x"

let private vocabulary (conditions: RequestConditions seq) texts =
    let conditions = Seq.toArray conditions

    {
        Hosts =
            [|
                "nobody.example"

                for c in conditions do
                    match c.Host with
                    | ExactHost host -> host
                    | HostBelow parent ->
                        parent
                        "a." + parent
                        "a.b." + parent
                    | AnyHost -> ()
            |]
            |> Array.distinct
        Ports =
            [|
                80us
                443us
                9999us

                for c in conditions do
                    match c.Port with
                    | OnePort port -> port
                    | _ -> ()
            |]
            |> Array.distinct
        Texts = texts
        Headers =
            [|
                ("x-nobody", "asks")

                for c in conditions do
                    yield! List.map headerOf c.Headers
            |]
            |> Array.distinct
        Methods =
            [| "GET"; "POST"; yield! conditions |> Seq.collect (fun c -> c.Methods) |]
            |> Array.distinct
        Query =
            [| ("nobody", "asks"); yield! conditions |> Seq.collect (fun c -> c.Query) |]
            |> Array.distinct
    }

let private host (random: Random) (words: Vocabulary) (wanted: HostMatcher) =
    let host =
        match wanted with
        | ExactHost host when chance random 85 -> host
        | HostBelow parent when chance random 85 -> (if chance random 50 then "any." else "other.any.") + parent
        | _ -> pick random words.Hosts

    if chance random 10 then host.ToUpperInvariant() else host

let private ports (random: Random) (words: Vocabulary) (wanted: PortDemand) =
    let any () =
        if chance random 50 then
            AuthorityPorts.Unspecified
        else
            AuthorityPorts.Of(pick random words.Ports)

    match wanted with
    | OnePort port when chance random 70 -> AuthorityPorts.Of port
    | _ -> any ()

let private headers (random: Random) (words: Vocabulary) (wanted: (string * TextCondition) list) =
    [
        for name, value in List.map headerOf wanted do
            if chance random 85 then
                (if chance random 20 then name.ToUpperInvariant() else name), value
            elif chance random 50 then
                name, value + "x"

        if chance random 15 then
            pick random words.Headers
    ]

let private method (random: Random) (words: Vocabulary) (wanted: string list) =
    match wanted with
    | _ :: _ when chance random 85 -> pick random (List.toArray wanted)
    | _ -> pick random words.Methods

let private query (random: Random) (words: Vocabulary) (wanted: (string * string) list) =
    QueryText.render
        [
            if chance random 10 then
                pick random words.Query

            for name, value in wanted do
                if chance random 85 then
                    name, value
        ]

/// The text itself, a longer one, or one that just misses it.
let private near (random: Random) (text: string) =
    match random.Next 10 with
    | 0 when text.Length > 1 -> text.Substring(0, text.Length - 1)
    | 1
    | 2 -> text + "x"
    | 3 -> text + "/x"
    | _ -> text

let private httpTexts (routes: HttpRoute array) =
    [|
        "/"
        "/nobody"

        for route in routes do
            for rule in route.Paths do
                match rule with
                | ExactPath path
                | PathTree path
                | PathPrefix path -> path
    |]
    |> Array.distinct

/// Mostly one on which the route holds.
let private listener (random: Random) (wanted: RequestConditions) =
    if chance random 90 then List.last wanted.Listeners
    elif chance random 50 then Decoded.Listener.Tls
    else Decoded.Listener.Plain

/// An endless sequence; equal seeds give equal requests.
let http (random: Random) (routes: HttpRoute array) : HttpRequest seq =
    let conditions = routes |> Array.map RequestConditions.ofHttp
    let words = vocabulary conditions (httpTexts routes)

    let path (route: HttpRoute) =
        let wanted =
            if route.Paths.Length > 0 && chance random 80 then
                match pick random route.Paths with
                | ExactPath path
                | PathTree path
                | PathPrefix path -> path
            else
                pick random words.Texts

        match RequestPath.canonicalise (near random wanted) with
        | Ok path -> path
        | Error _ -> "/"

    Seq.initInfinite (fun _ ->
        let index = random.Next routes.Length
        let wanted = conditions[index]

        let mode =
            match wanted.Modes with
            | [ mode ] when chance random 85 -> mode
            | _ when chance random 80 -> Decoded.ProxyMode.ReverseProxy
            | _ -> Decoded.ProxyMode.ForwardProxy

        let ports = ports random words wanted.Port

        {
            Method = method random words wanted.Methods
            Host = host random words wanted.Host
            // A forward-proxy request always has a port: its own or its scheme's.
            Ports =
                if mode = Decoded.ProxyMode.ForwardProxy && ports.Explicit = 0us then
                    AuthorityPorts.Of(if chance random 50 then 80us else 443us)
                else
                    ports
            Path = path routes[index]
            Query = query random words wanted.Query
            Mode = mode
            Listener = listener random wanted
            Headers = headers random words wanted.Headers
        })

let private isName (text: string) =
    text <> ""
    && text |> Seq.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '.' || c = '_')

/// An endless sequence; equal seeds give equal calls.
let grpc (random: Random) (routes: GrpcRoute array) : GrpcRequest seq =
    let conditions = routes |> Array.map RequestConditions.ofGrpc

    let text (route: GrpcRoute) =
        match route.Service with
        | AnyService -> "any.Service/Any"
        | ExactService name
        | ServicePrefix name -> near random name + "/Any"
        | ExactMethod method
        | MethodPrefix method -> near random method

    let words = vocabulary conditions (routes |> Array.map text |> Array.distinct)

    Seq.initInfinite (fun _ ->
        let index = random.Next routes.Length
        let wanted = conditions[index]

        let service, method =
            let text =
                if chance random 85 then
                    text routes[index]
                else
                    pick random words.Texts

            match text.Split '/' with
            | [| service; method |] when isName service && isName method -> service, method
            | parts when isName parts[0] -> parts[0], "Any"
            | _ -> "any.Service", "Any"

        {
            Host = host random words wanted.Host
            Ports = ports random words wanted.Port
            Service = service
            Method = method
            Listener = listener random wanted
            Metadata = headers random words wanted.Headers
        })
