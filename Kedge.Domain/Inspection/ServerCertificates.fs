namespace Kedge.Domain

open System
open System.Globalization

/// A certificate as reports show it.
type ReportedCertificate =
    {
        /// Where it is from: the path of its files without the extension.
        Source: string
        /// The distinguished name of its issuer.
        Issuer: string
        Facts: CertificateFacts
    }

    /// Its last day, in UTC.
    member certificate.Until: string =
        certificate.Facts.NotAfter.UtcDateTime.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)

    /// `certs/shop, until 2027-01-03`
    member certificate.Text: string = $"{certificate.Source}, until {certificate.Until}"

/// What a client that asks for a name (SNI) gets.
type CertificateChoice =
    /// The certificate with that name; `name` is the one in the certificate, which can be a wildcard.
    | ByName of certificate: ReportedCertificate * name: string
    /// The default certificate; None when it is not known.
    | ByDefault of ReportedCertificate option
    /// No certificate: the handshake is refused.
    | NoCertificate

/// The certificates that a server chooses from at a given time.
///
/// `fallback` is the default certificate, None when it is not known. With `isStrict`, it is used only for names that it
/// has. `isComplete` is false when the server has certificates that are not known here.
[<Sealed>]
type ServerCertificates
    (
        fallback: ReportedCertificate option,
        named: ReportedCertificate seq,
        isStrict: bool,
        isComplete: bool,
        now: DateTimeOffset
    ) =

    let unknown =
        {
            Source = ""
            Issuer = ""
            Facts =
                {
                    Names = []
                    NotBefore = DateTimeOffset.MinValue
                    NotAfter = DateTimeOffset.MaxValue
                    Sha256 = ""
                }
        }

    // As in the server, the default certificate comes first.
    let certificates =
        Array.append [| Option.defaultValue unknown fallback |] (Array.ofSeq named)

    let table = CertificateTable(certificates |> Seq.map _.Facts)

    /// The name in the certificate for which it is chosen.
    let nameIn (certificate: ReportedCertificate) (name: string) =
        let name = HostName.withoutTrailingDot(name.AsSpan()).ToString()
        let has text = String.Equals(text, name, StringComparison.OrdinalIgnoreCase)

        match certificate.Facts.Names |> List.tryFind has with
        | Some own -> own
        | None -> "*" + name.Substring(name.IndexOf '.')

    member _.Fallback: ReportedCertificate option = fallback
    /// All but the default one.
    member _.Named: ReportedCertificate seq = Seq.skip 1 certificates
    member _.Now: DateTimeOffset = now
    member _.IsStrict: bool = isStrict
    member _.IsComplete: bool = isComplete

    /// What a client that asks for the name gets; empty = it asks for none.
    member _.Choice(name: string) : CertificateChoice =
        match table.Find(name.AsSpan(), now) with
        | index when index >= 0 -> ByName(certificates[index], nameIn certificates[index] name)
        | _ when isStrict -> NoCertificate
        | _ -> ByDefault fallback

    /// The index in `Named` of the certificate for the name; -1 when it is the default one, or when no certificate has
    /// the name.
    member _.Find(name: string) : int = max 0 (table.Find(name.AsSpan(), now)) - 1

    /// The same for names of one label before `parent`, unless a certificate has the name in full.
    member _.FindBelow(parent: string) : int = max 0 (table.FindBelow(parent, now)) - 1

    /// Whether any certificate has the name.
    member _.Covers(name: string) : bool = table.Find(name.AsSpan(), now) >= 0

    /// Whether the certificate at this index in `Named` is used for any of its names.
    member _.IsUsed(index: int) : bool = table.IsUsed(index + 1, now)

    /// Whether the server answers a request for the host with 421 on a connection for the name `serverName`.
    member _.IsMisdirected(serverName: string, host: string) : bool =
        table.IsMisdirected(serverName.AsSpan(), host.AsSpan(), now)

    /// The certificate that the connection of a request gets, and whether the request may come on it; nothing for a
    /// request in clear text. `serverName` is the name that its client asks for (SNI), None = the host of its URL. The
    /// client of a forward proxy asks for the name of the proxy, which is not in the request.
    member this.Lines(request: Request, serverName: string option) : string list =
        let isForward =
            match request with
            | Http request -> request.Mode = Decoded.ProxyMode.ForwardProxy
            | Grpc _ -> false

        // No client asks for an address (RFC 6066, 3).
        let isAddress = HostName.isIPv4 (request.Host.AsSpan()) || request.Host.Contains ':'

        let name =
            match serverName with
            | Some name -> Some name
            | None when isForward -> None
            | None -> Some(if isAddress then "" else request.Host)

        match name with
        | _ when request.Listener = Decoded.Listener.Plain -> []
        | None -> []
        | Some name ->
            let none =
                if name = "" then "no name is asked for"
                elif isComplete then $"none names {name}"
                else $"none that is known here names {name}"

            [
                match this.Choice name with
                | ByName(certificate, own) -> $"certificate: {own} ({certificate.Text})"
                | ByDefault(Some certificate) -> $"certificate: {none}, so the default one ({certificate.Text})"
                | ByDefault None -> $"certificate: {none}, so the default one"
                | NoCertificate -> $"certificate: {none}, so the handshake is refused"

                if not isForward && this.IsMisdirected(name, request.Host) then
                    $"misdirected: another certificate names {request.Host}, so kedge answers 421 on this connection"
            ]
