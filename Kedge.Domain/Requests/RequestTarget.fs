namespace Kedge.Domain

open System
open System.Runtime.InteropServices

/// The forms of a request target (RFC 9112, 3.2), except the authority form of `CONNECT`.
type TargetForm =
    /// `/path?query`; also every `:path` of HTTP/2 except `*`.
    | Origin = 0
    /// `http://host/path?query`: what a client sends to a forward proxy.
    | Absolute = 1
    /// `*`
    | Asterisk = 2

/// The parts of a request target, as positions in the text that it was read from.
[<Struct>]
type RequestTarget =
    {
        Form: TargetForm
        /// Absolute form only, after the `//`. Not validated yet: `Authority.TryParse` does that.
        AuthorityStart: int
        AuthorityLength: int
        /// The default port of the target's scheme, 80 or 443; 0 in the other forms.
        SchemePort: uint16
        /// Not in canonical form yet: `RequestPath` does that. `*` in asterisk form.
        PathStart: int
        /// 0 when an absolute target ends after its authority; the path is then `/`.
        PathLength: int
        /// The query as it was sent, with its `?`; it is forwarded unchanged.
        QueryStart: int
        /// 0 when there is none; 1 when it is a lone `?`.
        QueryLength: int
    }

    /// The ports that the authority of this target means: `http://` without a port means 80 only, `https://` 443.
    member target.PortsOf(authority: Authority) : AuthorityPorts =
        if authority.Port < 0 && target.SchemePort <> 0us then
            AuthorityPorts.Of target.SchemePort
        else
            authority.Ports

    /// Splits the raw target of any method but `CONNECT`. False when it has none of the three forms, a scheme other
    /// than `http` and `https`, a fragment, or a character outside of visible ASCII. The authority and the path are not
    /// yet validated. Never allocates.
    static member TryParse(target: ReadOnlySpan<char>, [<Out>] parts: byref<RequestTarget>) : bool =
        parts <- Unchecked.defaultof<RequestTarget>

        let visible =
            target.Length > 0
            && not (target.ContainsAnyExceptInRange('!', '~'))
            && not (target.Contains '#')

        if not visible then
            false
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
