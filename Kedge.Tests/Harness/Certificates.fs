namespace Kedge.Tests.Harness

open System
open System.Net
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates

/// A certificate with its key, in memory and as PEM files.
type Identity =
    {
        Certificate: X509Certificate2
        CertFile: string
        KeyFile: string
    }

/// A certificate authority whose files live in the scratch directory.
type CertificateAuthority(scratch: Scratch, name: string, days: float) =
    let serverAuth = Oid "1.3.6.1.5.5.7.3.1"
    let clientAuth = Oid "1.3.6.1.5.5.7.3.2"
    let key = ECDsa.Create ECCurve.NamedCurves.nistP256

    let privateFile (fileName: string) (own: ECDsa) =
        let pem = own.ExportPkcs8PrivateKeyPem()
        Secrets.addKey pem
        scratch.Write(fileName, pem)

    let certificate =
        let request =
            CertificateRequest(X500DistinguishedName $"CN={name}", key, HashAlgorithmName.SHA256)

        request.CertificateExtensions.Add(X509BasicConstraintsExtension(true, false, 0, true))

        request.CertificateExtensions.Add(
            X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign ||| X509KeyUsageFlags.CrlSign, true)
        )

        request.CertificateExtensions.Add(X509SubjectKeyIdentifierExtension(request.PublicKey, false))
        let now = DateTimeOffset.UtcNow
        request.CreateSelfSigned(now.AddDays -30.0, now.AddDays days)

    let file = scratch.Write($"{name}.crt", certificate.ExportCertificatePem())

    let issueTo
        (commonName: string)
        (subject: string)
        (usage: Oid)
        (notBefore: DateTimeOffset)
        (notAfter: DateTimeOffset)
        names
        =
        let ownKey = ECDsa.Create ECCurve.NamedCurves.nistP256

        let request =
            CertificateRequest(X500DistinguishedName(subject: string), ownKey, HashAlgorithmName.SHA256)

        request.CertificateExtensions.Add(X509BasicConstraintsExtension(false, false, 0, true))
        request.CertificateExtensions.Add(X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true))
        let usages = OidCollection()
        usages.Add usage |> ignore
        request.CertificateExtensions.Add(X509EnhancedKeyUsageExtension(usages, false))

        if not (List.isEmpty names) then
            let alternative = SubjectAlternativeNameBuilder()

            for name: string in names do
                match IPAddress.TryParse name with
                | true, address -> alternative.AddIpAddress(nonNull address)
                | _ when name.Contains ':' -> alternative.AddUri(Uri name)
                | _ when name.Contains '@' -> alternative.AddEmailAddress name
                | _ when name.Contains "://" -> alternative.AddUri(Uri name)
                | _ -> alternative.AddDnsName name

            request.CertificateExtensions.Add(alternative.Build())

        let serial = RandomNumberGenerator.GetBytes 12
        use signed = request.Create(certificate, notBefore, notAfter, serial)
        let whole = signed.CopyWithPrivateKey ownKey
        let fileName = $"{name}-{commonName}-{Convert.ToHexString serial}"

        {
            Certificate = whole
            CertFile = scratch.Write($"{fileName}.crt", whole.ExportCertificatePem())
            KeyFile = privateFile $"{fileName}.key" ownKey
        }

    let issue commonName = issueTo commonName $"CN={commonName}"
    let now = DateTimeOffset.UtcNow

    /// Its own certificate ends in 30 days.
    new(scratch, name) = CertificateAuthority(scratch, name, 30.0)

    /// The CA's certificate as a PEM file.
    member _.File = file
    member _.Certificate = certificate

    /// For `localhost` and 127.0.0.1.
    member this.Server() = this.ServerFor [ "localhost"; "127.0.0.1" ]

    /// For these names and addresses.
    member _.ServerFor(names: string list) = issue "server" serverAuth (now.AddDays -1.0) (now.AddDays 20.0) names

    /// For `localhost`, valid for so many days more.
    member _.ServerUntil(days: float) = issue "server" serverAuth (now.AddDays -1.0) (now.AddDays days) [ "localhost" ]

    member _.Client(commonName: string) = issue commonName clientAuth (now.AddDays -1.0) (now.AddDays 7.0) []

    /// With these alternative names: URIs have a `:`, email addresses an `@`, the others are DNS names.
    member _.ClientNamed(names: string list) = issue "named" clientAuth (now.AddDays -1.0) (now.AddDays 7.0) names

    /// With this subject and these DNS names and URIs.
    member _.ClientWith(subject: string, names: string list) =
        issueTo "subject" subject clientAuth (now.AddDays -1.0) (now.AddDays 7.0) names

    /// Its last day was yesterday.
    member _.ExpiredClient() = issue "expired" clientAuth (now.AddDays -7.0) (now.AddDays -1.0) []

    /// For servers only: its extended key usage does not list client authentication.
    member _.NotForClients() = issue "not-for-clients" serverAuth (now.AddDays -1.0) (now.AddDays 7.0) []

    /// Whether the certificate chains to this CA. Names are the caller's business.
    member _.Issued(other: X509Certificate2) =
        use chain = new X509Chain()
        chain.ChainPolicy.TrustMode <- X509ChainTrustMode.CustomRootTrust
        chain.ChainPolicy.CustomTrustStore.Add certificate |> ignore
        chain.ChainPolicy.RevocationMode <- X509RevocationMode.NoCheck
        chain.Build other

/// The certificates that most tests use, made once.
[<RequireQualifiedAccess>]
module Certificates =
    let private scratch = Shared.make (fun () -> new Scratch())

    /// The CA of kedge's own certificate and of the clients that it is to let in.
    let authority = lazy CertificateAuthority(scratch.Value, "kedge-test-ca")

    /// A CA that nobody trusts.
    let stranger = lazy CertificateAuthority(scratch.Value, "stranger-ca")
    let server = lazy authority.Value.Server()
    let client = lazy authority.Value.Client "client"
