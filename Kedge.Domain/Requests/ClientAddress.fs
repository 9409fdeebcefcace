namespace Kedge.Domain

open System
open System.Net

/// Whom a request comes from, when proxies in front of kedge say it in X-Forwarded-For.
[<RequireQualifiedAccess>]
module ClientAddress =

    /// An IPv4-mapped IPv6 address is the IPv4 address in it.
    let unmapped (address: IPAddress) : IPAddress =
        if address.IsIPv4MappedToIPv6 then
            address.MapToIPv4()
        else
            address

    /// The address of the peer or, if that is a trusted proxy, the last of the entries that is not one. An entry that
    /// is not an address ends the walk at the one after it: what is before it may be anyone's invention.
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
