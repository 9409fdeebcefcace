using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kedge.Host.Flags;

namespace Kedge.Host.Certificates;

/// <summary>
/// Creates the certificates that a fresh checkout lacks: the server certificate that the flags name by default, a CA,
/// and a client certificate, all in <c>misc/</c>, as <c>misc/gen_cert.sh</c> does. Never replaces a file, and never
/// creates one anywhere else.
/// </summary>
public static class DevelopmentCertificates
{
    private const string Folder = "misc";
    private const string ServerUsage = "1.3.6.1.5.5.7.3.1";
    private const string ClientUsage = "1.3.6.1.5.5.7.3.2";
    private static readonly TimeSpan Lifetime = TimeSpan.FromDays(365);

    /// <summary>Creates the files if the flags name one that does not exist.</summary>
    /// <returns>A sentence about the files created; null = none.</returns>
    public static string? MakeAbsent(TlsOptions options, TimeProvider clock)
    {
        var wantsServer = Is(options.CertFile, "localhost.crt") && Is(options.KeyFile, "localhost.key")
            && IsAbsent("localhost");
        var wantsAuthority = options.ClientCaFiles.Any(file => Is(file, "ca.crt")) && IsAbsent("ca");
        if (!wantsServer && !wantsAuthority)
        {
            return null;
        }
        var made = new List<string>();
        try
        {
            Directory.CreateDirectory(Folder);
            using var authority = Authority(clock, made);
            if (wantsServer)
            {
                var names = new SubjectAlternativeNameBuilder();
                names.AddDnsName("localhost");
                names.AddIpAddress(IPAddress.Loopback);
                names.AddIpAddress(IPAddress.IPv6Loopback);
                Issue(authority, "localhost", "localhost", ServerUsage, names.Build(), clock, made);
            }
            if (IsAbsent("client"))
            {
                Issue(authority, "client", "kedge-client", ClientUsage, null, clock, made);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            // The missing file is reported when it is read.
        }
        return made.Count == 0
            ? null
            : $"made development certificates in {Folder}/: {string.Join(", ", made)}. To use your own, set "
                + $"{FlagCatalogue.CertFile}, {FlagCatalogue.KeyFile} and {FlagCatalogue.ClientCaFiles}, or replace "
                + "these files";
    }

    private static bool Is(string path, string name)
    {
        try
        {
            return path.Length > 0 && Path.GetFullPath(path) == Path.GetFullPath(Path.Combine(Folder, name));
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    /// <summary>Whether neither the certificate nor its key exists.</summary>
    private static bool IsAbsent(string name) =>
        !Path.Exists(Path.Combine(Folder, name + ".crt")) && !Path.Exists(Path.Combine(Folder, name + ".key"));

    /// <summary>The CA in the files; a new one if they cannot sign, written only where no files exist.</summary>
    private static X509Certificate2 Authority(TimeProvider clock, List<string> made)
    {
        var (certFile, keyFile) = (Path.Combine(Folder, "ca.crt"), Path.Combine(Folder, "ca.key"));
        if (File.Exists(certFile) && File.Exists(keyFile))
        {
            var existing = X509Certificate2.CreateFromPemFile(certFile, keyFile);
            if (existing.NotAfter > clock.GetUtcNow().UtcDateTime)
            {
                return existing;
            }
            existing.Dispose();
        }
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Kedge development CA", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(
            X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        var now = clock.GetUtcNow();
        var authority = request.CreateSelfSigned(now.AddMinutes(-5), now + Lifetime + TimeSpan.FromMinutes(5));
        if (IsAbsent("ca"))
        {
            Write("ca", authority, key, made);
        }
        return authority;
    }

    private static void Issue(
        X509Certificate2 authority,
        string file,
        string subject,
        string usage,
        X509Extension? names,
        TimeProvider clock,
        List<string> made)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={subject}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], critical: false));
        request.CertificateExtensions.Add(
            X509AuthorityKeyIdentifierExtension.CreateFromCertificate(authority, true, false));
        if (names is not null)
        {
            request.CertificateExtensions.Add(names);
        }
        // A certificate is not valid before or after its issuer.
        var now = clock.GetUtcNow();
        var issuerStart = new DateTimeOffset(authority.NotBefore);
        var issuerEnd = new DateTimeOffset(authority.NotAfter);
        var (start, end) = (now.AddMinutes(-5), now + Lifetime);
        var signer = authority.GetECDsaPrivateKey() is { } ecdsa
            ? X509SignatureGenerator.CreateForECDsa(ecdsa)
            : X509SignatureGenerator.CreateForRSA(
                authority.GetRSAPrivateKey() ?? throw new CryptographicException("the CA has no key that can sign"),
                RSASignaturePadding.Pkcs1);
        using var certificate = request.Create(
            authority.SubjectName,
            signer,
            start > issuerStart ? start : issuerStart,
            end < issuerEnd ? end : issuerEnd,
            RandomNumberGenerator.GetBytes(16));
        Write(file, certificate, key, made);
    }

    private static void Write(string name, X509Certificate2 certificate, ECDsa key, List<string> made)
    {
        WriteNew($"{name}.crt", certificate.ExportCertificatePem(), isSecret: false, made);
        WriteNew($"{name}.key", key.ExportPkcs8PrivateKeyPem(), isSecret: true, made);
    }

    private static void WriteNew(string name, string pem, bool isSecret, List<string> made)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (isSecret && !OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }
        using var writer = new StreamWriter(Path.Combine(Folder, name), options);
        writer.Write(pem + "\n");
        made.Add(name);
    }
}
