namespace Kedge.Domain

open System
open System.Collections.Generic

/// A request in the form that HTTP and gRPC share.
type Point =
    {
        Host: string
        Ports: AuthorityPorts
        Text: string
        Mode: Decoded.ProxyMode
        Headers: (string * string) list
    }

/// The representative requests of the routes of one or two tables.
///
/// For each request q that satisfies given conditions (of one route, or of two together) there is a representative q',
/// satisfying them too, such that every route of the tables that takes q' takes q as well. So if q reaches a route, or
/// goes to two given routes of two tables, then so does q'; and if each representative is taken by an earlier route,
/// then so is each request. That makes the results of `Analysis` and `Diff` exact in both directions.
///
/// Proof, condition by condition, for the representative that is chosen with q's mode:
/// - host: given, or one that no route names, which only routes for any host take, and these take q's host too;
/// - ports: given, or one port that no route names, likewise. An authority without a port satisfies more port matchers
///   than either of its two ports alone, so that it is needed only where both are asked for. (One for a readable
///   witness is added all the same; more representatives do no harm.) A forward-proxy request always has one port;
/// - text: `TextSpace`;
/// - headers: exactly those asked for, which q has too. One name with two values is satisfiable: by both values.
[<Sealed>]
type RequestSpace(conditions: RequestConditions seq, texts: TextSpace) =

    let unnamedHost, unnamedPort =
        let hosts = HashSet<string>(StringComparer.OrdinalIgnoreCase)
        let ports = HashSet<uint16>()

        for c in conditions do
            match c.Host with
            | ExactHost host -> hosts.Add host |> ignore
            | AnyHost -> ()

            match c.Port with
            | OnePort port -> ports.Add port |> ignore
            | NoPort
            | BothDefaultPorts -> ()

        let host =
            Seq.initInfinite (fun i -> if i = 0 then "any.example" else $"any{i}.example")
            |> Seq.find (fun host -> not (hosts.Contains host))

        // 80 and 443 never count as unnamed: an authority without a port means both. A table that names all other ports
        // leaves port 0, which no request has; no real table has 65,533 ports.
        let port =
            Seq.append (seq { 8443us }) (seq { 1us .. UInt16.MaxValue })
            |> Seq.tryFind (fun port -> port <> 80us && port <> 443us && not (ports.Contains port))

        host, port |> Option.defaultValue 0us

    let portsFor demand mode =
        match demand, mode with
        | NoPort, Decoded.ProxyMode.ForwardProxy -> [ AuthorityPorts.Of unnamedPort ]
        | NoPort, _ -> [ AuthorityPorts.Unspecified; AuthorityPorts.Of unnamedPort ]
        | OnePort 443us, Decoded.ProxyMode.ReverseProxy -> [ AuthorityPorts.Unspecified; AuthorityPorts.Of 443us ]
        | OnePort port, _ -> [ AuthorityPorts.Of port ]
        | BothDefaultPorts, Decoded.ProxyMode.ForwardProxy -> []
        | BothDefaultPorts, _ -> [ AuthorityPorts.Unspecified ]

    member _.Texts = texts

    /// Lazy: most routes need only the first.
    member _.Representatives(c: RequestConditions) : Point seq =
        seq {
            for mode in c.Modes do
                for ports in portsFor c.Port mode do
                    for rule in c.Texts do
                        for text in texts.Representatives rule do
                            {
                                Host =
                                    match c.Host with
                                    | ExactHost host -> host
                                    | AnyHost -> unnamedHost
                                Ports = ports
                                Text = text
                                Mode = mode
                                Headers = c.Headers
                            }
        }
