namespace Kedge.Domain

open System
open System.Collections.Generic

/// A request in the form that HTTP and gRPC share.
type Point =
    {
        Method: string
        Host: string
        Ports: AuthorityPorts
        Text: string
        /// Names and values, decoded.
        Query: (string * string) list
        Mode: Decoded.ProxyMode
        Listener: Decoded.Listener
        Headers: (string * string) list
    }

/// The representative requests of the routes of one or two tables.
///
/// For each request q that satisfies given conditions (of one route, or of two together) there is a representative q',
/// satisfying them too, such that every route of the tables that takes q' takes q as well. So if q reaches a route, or
/// goes to two given routes of two tables, then so does q'; and if each representative is taken by an earlier route,
/// then so is each request. That makes the results of `Analysis` and `Diff` exact in both directions.
///
/// Proof, condition by condition, for the representative that is chosen with q's mode and listener:
/// - host: given, or one that no route names and no wildcard takes, which only routes for any host take, and these take
///   q's host too; for a wildcard, a name one label below it, which no route names: only the wildcard itself and the
///   wildcards that take all of its hosts take that one;
/// - ports: given, or one port that no route names, likewise. An authority without a port satisfies more port matchers
///   than either of its two ports alone, so that it is needed only where both are asked for. (One for a readable
///   witness is added all the same; more representatives do no harm.) A forward-proxy request always has one port;
/// - method: each of those given, or one that no route names. `*` is the path of `OPTIONS *` alone;
/// - text: `TextSpace`;
/// - query: exactly the parameters asked for, which q has too, and which no two routes that both take q want otherwise;
/// - headers: exactly those asked for. A value that is given, q has too. For a value that starts with a prefix, q has
///   one, and `TextSpace` has a representative of it: there is always a character with which no route goes on after the
///   prefix, so one representative is enough. One name with two values is satisfiable: by both values.
///
/// All matchers are monotone: whatever a request gains, no matcher stops taking it. A matcher of absence would not be,
/// and k of them would need 2^k representatives. That is why there is none: put the route for requests with the header
/// first.
[<Sealed>]
type RequestSpace(conditions: RequestConditions seq, texts: TextSpace) =

    /// The first of the candidates that is not named, then those with a number.
    static let unnamed (isNamed: string -> bool) (candidates: string list) (numbered: int -> string) =
        Seq.append candidates (Seq.initInfinite numbered) |> Seq.find (isNamed >> not)

    let hosts = HashSet<string>(StringComparer.OrdinalIgnoreCase)
    let wildcards = HashSet<HostMatcher>()
    let ports = HashSet<uint16>()
    let methods = HashSet<string>()
    let headerTexts = Dictionary<string, HashSet<string>>()

    do
        for c in conditions do
            match c.Host with
            | ExactHost host -> hosts.Add host |> ignore
            | HostBelow _ -> wildcards.Add c.Host |> ignore
            | AnyHost -> ()

            match c.Port with
            | OnePort port -> ports.Add port |> ignore
            | NoPort
            | BothDefaultPorts -> ()

            for method in c.Methods do
                methods.Add method |> ignore

            for name, (Exactly text | StartingWith text) in c.Headers do
                match headerTexts.TryGetValue name with
                | true, texts -> texts.Add text |> ignore
                | _ -> headerTexts[name] <- HashSet [ text ]

    let unnamedHost =
        let isTaken (host: string) =
            hosts.Contains host
            || (ExactHost host).Wildcards |> List.exists wildcards.Contains

        // A name of one label is below no wildcard.
        unnamed isTaken [ "any.example"; "any1.example"; "any.test" ] (fun i -> $"any{i}")

    let unnamedMethod =
        unnamed methods.Contains [ "GET"; "POST"; "PUT"; "DELETE"; "PATCH"; "HEAD" ] (fun i -> $"ANY{i}")

    let unnamedPort =
        // 80 and 443 never count as unnamed: an authority without a port means both. A table that names all other ports
        // leaves port 0, which no request has; no real table has 65,533 ports.
        Seq.append (seq { 8443us }) (seq { 1us .. UInt16.MaxValue })
        |> Seq.tryFind (fun port -> port <> 80us && port <> 443us && not (ports.Contains port))
        |> Option.defaultValue 0us

    let hostBelow =
        let known = Dictionary<string, string>()

        // The labels that still fit before the longest of names are few, but more than any table names.
        let labels =
            seq {
                "any"
                yield! Seq.init 9 (fun i -> $"any{i + 1}")

                for c in 'a' .. 'z' do
                    string c

                yield! Seq.initInfinite (fun i -> $"a{i}")
            }

        fun (parent: string) ->
            match known.TryGetValue parent with
            | true, host -> host
            | _ ->
                let host =
                    labels
                    |> Seq.map (fun label -> $"{label}.{parent}")
                    |> Seq.find (fun host ->
                        host.Length <= HostName.MaxLength && not (hosts.Contains host)
                        || host.Length > HostName.MaxLength + 8)

                known[parent] <- host
                host

    let headerSpaces = Dictionary<string, TextSpace>()

    let headerSpace (name: string) =
        match headerSpaces.TryGetValue name with
        | true, space -> space
        | _ ->
            let mentioned = headerTexts[name]

            // A character that no text of the header has, so that there is always one that leads out.
            let spare =
                seq { '\u00a1' .. '\uffff' }
                |> Seq.find (fun c -> mentioned |> Seq.forall (fun text -> not (text.Contains c)))

            let space = TextSpace(mentioned, (fun _ -> true), [ "" ], [ spare ])
            headerSpaces[name] <- space
            space

    let headerValue (name: string, condition: TextCondition) =
        match condition with
        | Exactly value -> name, value
        | StartingWith _ -> name, List.head ((headerSpace name).Representatives condition)

    let portsFor demand mode =
        match demand, mode with
        | NoPort, Decoded.ProxyMode.ForwardProxy -> [ AuthorityPorts.Of unnamedPort ]
        | NoPort, _ -> [ AuthorityPorts.Unspecified; AuthorityPorts.Of unnamedPort ]
        | OnePort 443us, Decoded.ProxyMode.ReverseProxy -> [ AuthorityPorts.Unspecified; AuthorityPorts.Of 443us ]
        | OnePort port, _ -> [ AuthorityPorts.Of port ]
        | BothDefaultPorts, Decoded.ProxyMode.ForwardProxy -> []
        | BothDefaultPorts, _ -> [ AuthorityPorts.Unspecified ]

    let methodsFor (demand: string list) (text: string) =
        match demand with
        | [] when text = "*" -> [ "OPTIONS" ]
        | [] -> [ unnamedMethod ]
        | methods when text = "*" -> methods |> List.filter (fun method -> method = "OPTIONS")
        | methods -> methods

    member _.Texts = texts

    /// Lazy: most routes need only the first.
    member _.Representatives(c: RequestConditions) : Point seq =
        seq {
            let host =
                match c.Host with
                | ExactHost host -> host
                | HostBelow parent -> hostBelow parent
                | AnyHost -> unnamedHost

            let headers = List.map headerValue c.Headers

            for listener in c.Listeners do
                for mode in c.Modes do
                    for ports in portsFor c.Port mode do
                        for rule in c.Texts do
                            for text in texts.Representatives rule do
                                for method in methodsFor c.Methods text do
                                    {
                                        Method = method
                                        Host = host
                                        Ports = ports
                                        Text = text
                                        Query = c.Query
                                        Mode = mode
                                        Listener = listener
                                        Headers = headers
                                    }
        }
