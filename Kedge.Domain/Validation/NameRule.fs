namespace Kedge.Domain

open System

/// The rules for names. See docs/configuration.md.
[<RequireQualifiedAccess>]
module internal NameRule =

    /// For backends, and for the entries of `tls_server_configs`.
    let backend = "must be 2 to 253 characters of a-z, 0-9, `_`, `.`, `-`"

    let isBackend (name: string) =
        name.Length >= 2
        && name.Length <= 253
        && name
           |> String.forall (fun c ->
               Char.IsAsciiLetterLower c
               || Char.IsAsciiDigit c
               || c = '_'
               || c = '.'
               || c = '-')

    let route = "must be 1 to 63 characters of a-z, 0-9, `-`, without a `-` at its ends"

    let isRoute (name: string) =
        name.Length <= 63
        && name <> ""
        && name[0] <> '-'
        && name[name.Length - 1] <> '-'
        && name
           |> String.forall (fun c -> Char.IsAsciiLetterLower c || Char.IsAsciiDigit c || c = '-')

    let rateLimit = "must be 1 to 63 characters of a-z, 0-9, `_`, `.`, `-`"

    let isRateLimit (name: string) = name <> "" && name.Length <= 63 && isBackend (name + "x")

    let withoutBrackets (host: string) =
        if host.Length > 2 && host.StartsWith '[' && host.EndsWith ']' then
            host.Substring(1, host.Length - 2)
        else
            host

    /// A DNS name, optionally absolute (with a trailing dot), or an IP address.
    let isHost (host: string) =
        HostName.isName (HostName.withoutTrailingDot (host.AsSpan()))
        || HostName.isIPv6 ((withoutBrackets host).AsSpan())

    let isDnsName (name: string) =
        HostName.isName (HostName.withoutTrailingDot (name.AsSpan()))
        && not (Net.IPAddress.TryParse name |> fst)

    let isPlainText (text: string) =
        text <> ""
        && not (text |> String.exists (fun c -> Char.IsControl c || Char.IsWhiteSpace c))
