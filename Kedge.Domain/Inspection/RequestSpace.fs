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
/// For each request q that satisfies given conditions (of one route, or of two together) there is a representative q'
/// that also satisfies them, such that every route of the tables that takes q' takes q as well. So if q reaches a
/// route, or goes to two given routes of two tables, then so does q'; and if each representative is taken by an earlier
/// route, then so is each request. This makes the results of `Analysis` and `Diff` exact in both directions.
///
/// Proof, condition by condition, for the representative that is chosen with q's mode and listener:
/// - host: the given one, or one that no route names and no wildcard takes: only routes for any host take it, and these
///   take q's host too; for a wildcard, a name one label below it that no route names: only the wildcard itself and the
///   wildcards that take all of its hosts take it;
/// - ports: the given one, or one that no route names, likewise. An authority without a port satisfies more port
///   matchers than either of its two ports alone, so it is needed only where both are required. (One is added anyway
///   for a readable witness; more representatives do no harm.) A forward-proxy request always has one port;
/// - method: each of the given ones, or one that no route names. Only `OPTIONS *` has the path `*`;
/// - text: `TextSpace`;
/// - query: exactly the required parameters, which q has too; two routes that both take q cannot require different
///   values;
/// - headers: exactly the required ones. If a value is given, q has it too. If a prefix is given, q has a value that
///   starts with it, and `TextSpace` has a representative of that value: there is always a character with which no
///   route continues the prefix, so one representative is enough. Two values for one name can be satisfied: by sending
///   both.
///
/// All matchers are monotone: adding to a request never makes a matcher stop taking it. A matcher for absence would not
/// be monotone, and k of them would need 2^k representatives. That is why there is none: put the route for requests
/// with the header first.
[<Sealed>]
type RequestSpace(conditions: RequestConditions seq, texts: TextSpace) =

    /// The first candidate that is not named; the numbered ones come last.
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

        // Few labels still fit before the longest names, but more than any table names.
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

            // A character that no text of the header contains, so that some value always escapes all of them.
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
