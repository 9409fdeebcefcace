namespace Kedge.Client.Domain

open System
open System.Runtime.InteropServices
open Kedge.Domain

/// The target of a request, in the one form that every rule uses.
[<Sealed>]
type Target private (host: string, port: int) =

    let isIPv4 =
        host |> String.forall (fun c -> Char.IsAsciiDigit c || c = '.')
        && (host |> Seq.filter (fun c -> c = '.') |> Seq.length) = 3

    /// Lower case, without brackets and without one trailing dot.
    member _.Host = host

    /// 1 to 65535; never absent.
    member _.Port = port

    /// Whether the host is an IP address. No rule applies to addresses.
    member _.IsAddress = isIPv4 || host.Contains ':'

    /// `host:port`, with brackets around an IPv6 address.
    member _.Authority =
        if host.Contains ':' then
            $"[{host}]:{port}"
        else
            $"{host}:{port}"

    override this.ToString() = this.Authority

    /// Reads `host`, `host:port`, `[v6]` and `[v6]:port`. False when the text is malformed: a URL, a user name, or a
    /// character that no host may contain.
    /// <param name="authority">As in a `Host` header, a URL or a CONNECT request.</param>
    /// <param name="defaultPort">The port if the text has none: 80 for http and ws, 443 for https, wss and
    /// CONNECT.</param>
    static member TryParse
        (
            authority: string,
            defaultPort: int,
            [<Out; Diagnostics.CodeAnalysis.NotNullWhen true>] target: byref<Target | null>
        ) : bool =
        let mutable parts = Unchecked.defaultof<Authority>

        if Authority.TryParse(authority.AsSpan(), &parts) then
            let host = authority.Substring(parts.HostStart, parts.HostLength).ToLowerInvariant()
            target <- Target(host, (if parts.Port < 0 then defaultPort else parts.Port))
            true
        else
            target <- null
            false

    /// A target from a host as in `Uri.Host`, with or without brackets, and a port.
    static member TryCreate
        (host: string, port: int, [<Out; Diagnostics.CodeAnalysis.NotNullWhen true>] target: byref<Target | null>)
        : bool =
        let bracketed =
            if host.Contains ':' && not (host.StartsWith '[') then
                $"[{host}]"
            else
                host

        target <- null

        port > 0
        && port <= 65535
        && Target.TryParse(bracketed, port, &target)
        && (nonNull target).Port = port
