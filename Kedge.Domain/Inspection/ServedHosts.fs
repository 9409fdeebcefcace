namespace Kedge.Domain

open System
open System.Collections.Generic

/// The hosts of the requests that a configuration takes on connections for the same hosts, that is, of reverse-proxy
/// requests on the TLS listeners. (The client of a forward proxy asks for the name of the proxy.)
[<Sealed>]
type ServedHosts(matchers: HostMatcher seq, adhocNames: DnsNameMatcher seq) =

    let exact = HashSet<string>()
    let below = HashSet<HostMatcher>()
    let suffixes = List<string>()
    let mutable isAny = false

    do
        for matcher in matchers do
            match matcher with
            | AnyHost -> isAny <- true
            | ExactHost host -> exact.Add host |> ignore
            | HostBelow _ -> below.Add matcher |> ignore

        for name in adhocNames do
            match name with
            | ExactName name -> exact.Add name |> ignore
            | NameSuffix suffix -> suffixes.Add suffix

    // Keyed by the part after the first label.
    let byParent =
        lazy
            (exact
             |> Seq.filter (fun host -> host.Contains '.')
             |> Seq.groupBy (fun host -> host.Substring(host.IndexOf '.' + 1))
             |> Seq.map (fun (parent, hosts) -> KeyValuePair(parent, List.ofSeq hosts))
             |> Dictionary)

    static let reverse (c: RequestConditions) =
        if
            List.contains Decoded.ProxyMode.ReverseProxy c.Modes
            && List.contains Decoded.Listener.Tls c.Listeners
        then
            Some
                { c with
                    Modes = [ Decoded.ProxyMode.ReverseProxy ]
                    Listeners = [ Decoded.Listener.Tls ]
                }
        else
            None

    /// The conditions, restricted to requests on connections for their hosts; None when they exclude such requests.
    static member Reverse(conditions: RequestConditions) : RequestConditions option = reverse conditions

    /// The hosts of requests that routes or ad-hoc rules take.
    static member Of(configuration: Configuration) : ServedHosts =
        let ofRoutes (semantics: RouteSemantics<'route, 'request>) =
            let conditions =
                semantics.Routes configuration.Director |> Array.map semantics.Conditions

            let space = lazy (RouteSemantics.space semantics conditions)

            conditions
            |> Seq.choose reverse
            |> Seq.filter (space.Value.Representatives >> Seq.isEmpty >> not)
            |> Seq.map _.Host
            |> Seq.distinct

        ServedHosts(
            Seq.append (ofRoutes RouteSemantics.http) (ofRoutes RouteSemantics.grpc),
            Protocol.All
            |> Seq.collect (fun protocol -> configuration.Director.AdhocRules[protocol])
            |> Seq.map _.Name
        )

    /// The hosts that are named in full, in lower case.
    member _.Exact: string seq = exact
    /// Whether it takes hosts other than the exact ones.
    member _.HasOthers: bool = isAny || below.Count > 0 || suffixes.Count > 0

    /// Whether it takes requests for the name, in lower case.
    member _.Takes(name: string) : bool =
        isAny
        || exact.Contains name
        || below.Count > 0 && List.exists below.Contains (ExactHost name).Wildcards
        || suffixes.Exists(fun suffix -> name.EndsWith(suffix, StringComparison.Ordinal))

    /// Whether it takes so many of the names with one label before `parent` that no list of names can exclude them all.
    member _.TakesMostBelow(parent: string) : bool =
        isAny
        || below.Count > 0
           && (below.Contains(HostBelow parent)
               || List.exists below.Contains (HostBelow parent).Wildcards)
        || suffixes.Exists(fun suffix ->
            let names = "." + parent

            names.EndsWith(suffix, StringComparison.Ordinal)
            // A suffix that is the end of a label, followed by `names`.
            || suffix.EndsWith(names, StringComparison.Ordinal)
               && suffix.IndexOf '.' = suffix.Length - names.Length)

    /// The exact hosts with one label before `parent`.
    member _.OneLabelBelow(parent: string) : string list =
        match byParent.Value.TryGetValue parent with
        | true, hosts -> hosts
        | _ -> []
