namespace Kedge.Domain

open System
open System.Net

/// The client that a request comes from, when proxies in front of kedge report it in X-Forwarded-For.
[<RequireQualifiedAccess>]
module ClientAddress =

    /// An IPv4-mapped IPv6 address is the IPv4 address in it.
    let unmapped (address: IPAddress) : IPAddress =
        if address.IsIPv4MappedToIPv6 then
            address.MapToIPv4()
        else
            address

    /// The address of the peer or, if the peer is a trusted proxy, the last entry that is not a trusted proxy. An entry
    /// that is not an address ends the walk at the entry after it: any caller may have invented the entries before it.
    let walk (isTrusted: Func<IPAddress, bool>) (peer: IPAddress) (entries: string array) : IPAddress =
        let mutable client = unmapped peer
        let mutable next = entries.Length - 1

        while next >= 0 && isTrusted.Invoke client do
            match IPAddress.TryParse entries[next] with
            | true, (NonNull address) ->
                client <- unmapped address
                next <- next - 1
            | _ -> next <- -1

        client
