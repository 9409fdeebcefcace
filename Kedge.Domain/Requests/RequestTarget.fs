namespace Kedge.Domain

open System
open System.Runtime.InteropServices

/// The forms of a request target (RFC 9112, 3.2).
type TargetForm =
    /// `/path?query`; also every `:path` of HTTP/2 but `*`.
    | Origin = 0
    /// `http://host/path?query`: what a client sends to a forward proxy.
    | Absolute = 1
    /// `*`
    | Asterisk = 2
    /// `host:port`, of `CONNECT` alone.
    | Authority = 3

/// A request target in parts, as places in the text that it was read from.
[<Struct>]
type RequestTarget =
    {
        Form: TargetForm
        /// Absolute and authority form only. Behind the `//`; not checked yet: `Authority.TryParse` does that.
        AuthorityStart: int
        AuthorityLength: int
        /// The port that the target's scheme stands for, 80 or 443; 0 in the other forms.
        SchemePort: uint16
        /// Not canonical yet: `RequestPath` does that. `*` in asterisk form.
        PathStart: int
        /// 0 when an absolute target ends behind its authority; the path is then `/`.
        PathLength: int
        /// The query as it was sent, with its `?`; it is forwarded untouched.
        QueryStart: int
        /// 0 when there is none; 1 when it is a lone `?`.
        QueryLength: int
    }

    /// The ports that the authority of this target stands for: `http://` without a port means 80 only, `https://` 443.
    member target.PortsOf(authority: Authority) : AuthorityPorts =
        if authority.Port < 0 && target.SchemePort <> 0us then
            AuthorityPorts.Of target.SchemePort
        else
            authority.Ports

    /// Splits a raw target. `isConnect`: the method is `CONNECT`, whose target is an authority. False when it has none of
    /// the four forms, a scheme other than `http` and `https`, a fragment, or a character outside of visible ASCII. The
    /// authority and the path are then still to be checked. Never allocates.
    static member TryParse(target: ReadOnlySpan<char>, isConnect: bool, [<Out>] parts: byref<RequestTarget>) : bool =
        parts <- Unchecked.defaultof<RequestTarget>

        let visible =
            target.Length > 0
            && not (target.ContainsAnyExceptInRange('!', '~'))
            && not (target.Contains '#')

        if not visible then
            false
        elif isConnect then
            parts <-
                { parts with
                    Form = TargetForm.Authority
                    AuthorityLength = target.Length
                    PathStart = target.Length
                    QueryStart = target.Length
                }

            true
        elif target.Length = 1 && target[0] = '*' then
            parts <-
                { parts with
                    Form = TargetForm.Asterisk
                    PathLength = 1
                    QueryStart = 1
                }

            true
        else
            let schemeLength =
                if target[0] = '/' then
                    0
                elif target.StartsWith("http://".AsSpan(), StringComparison.OrdinalIgnoreCase) then
                    7
                elif target.StartsWith("https://".AsSpan(), StringComparison.OrdinalIgnoreCase) then
                    8
                else
                    -1

            if schemeLength < 0 then
                false
            else
                let authorityLength =
                    if schemeLength = 0 then
                        0
                    else
                        let next = target.Slice(schemeLength).IndexOfAny('/', '?')
                        if next < 0 then target.Length - schemeLength else next

                let pathStart = schemeLength + authorityLength
                let query = target.Slice(pathStart).IndexOf '?'
                let queryStart = if query < 0 then target.Length else pathStart + query

                parts <-
                    {
                        Form =
                            if schemeLength = 0 then
                                TargetForm.Origin
                            else
                                TargetForm.Absolute
                        AuthorityStart = schemeLength
                        AuthorityLength = authorityLength
                        SchemePort =
                            match schemeLength with
                            | 7 -> 80us
                            | 8 -> 443us
                            | _ -> 0us
                        PathStart = pathStart
                        PathLength = queryStart - pathStart
                        QueryStart = queryStart
                        QueryLength = target.Length - queryStart
                    }

                true
