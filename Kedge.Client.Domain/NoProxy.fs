namespace Kedge.Client.Domain

open System
open System.Globalization
open System.Net

type private Exemption =
    | Everything
    /// The subdomains of a name and, with `alsoItself`, the name.
    | Domain of name: string * alsoItself: bool * port: int
    | Address of IPAddress * port: int
    | Network of IPNetwork

/// The hosts that are not reached through a proxy, as `NO_PROXY` lists them: `a.example` and its subdomains,
/// `.a.example` for its subdomains only, addresses (all of these optionally with a port), networks such as 10.0.0.0/8,
/// or `*`. Loopback is never reached through a proxy.
[<Sealed>]
type NoProxy private (exemptions: Exemption list) =

    static let withPort (text: string) : struct (string * int) =
        let colon = text.LastIndexOf ':'
        let isBareIPv6 = text.IndexOf ':' <> colon && not (text.StartsWith '[')

        if colon < 0 || isBareIPv6 || text.EndsWith ']' then
            text, 0
        else
            match UInt16.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture) with
            | true, port -> text.Substring(0, colon), int port
            | _ -> text, 0

    static let addressOf (text: string) : IPAddress option =
        match IPAddress.TryParse text with
        | true, address -> Option.ofObj address
        | _ -> None

    static let read (entry: string) : Exemption option =
        let entry = entry.Trim().ToLowerInvariant()

        if entry = "" then
            None
        elif entry = "*" then
            Some Everything
        else
            match IPNetwork.TryParse entry with
            | true, network when entry.Contains '/' -> Some(Network network)
            | _ ->
                let struct (host, port) = withPort entry

                match addressOf (host.Trim('[', ']')) with
                | Some address -> Some(Address(address, port))
                | None ->
                    let name = if host.StartsWith "*." then host.Substring 1 else host
                    Some(Domain(name.TrimStart('.').TrimEnd('.'), not (name.StartsWith '.'), port))

    /// Entries that cannot be read match nothing.
    static member Parse(text: string) : NoProxy = NoProxy(text.Split ',' |> Seq.choose read |> List.ofSeq)

    /// Whether requests for this host bypass the proxy.
    member _.Exempts(target: Target) : bool =
        let host = target.Host

        let address = if target.IsAddress then addressOf host else None

        let isPort (port: int) = port = 0 || port = target.Port

        let isLoopback =
            host = "localhost"
            || host.EndsWith(".localhost", StringComparison.Ordinal)
            || (address |> Option.exists IPAddress.IsLoopback)

        isLoopback
        || exemptions
           |> List.exists (fun exemption ->
               match exemption with
               | Everything -> true
               | Domain(name, alsoItself, port) ->
                   isPort port
                   && ((alsoItself && host = name)
                       || (name <> "" && host.EndsWith("." + name, StringComparison.Ordinal)))
               | Address(other, port) -> isPort port && address |> Option.exists other.Equals
               | Network network -> address |> Option.exists network.Contains)
