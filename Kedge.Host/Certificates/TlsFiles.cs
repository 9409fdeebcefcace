using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kedge.Host.Flags;

namespace Kedge.Host.Certificates;

/// <summary>Reads the PEM files of the TLS listeners.</summary>
public static class TlsFiles
{
    private const string RsaKey = "1.2.840.113549.1.1.1";
    private const string EllipticCurveKey = "1.2.840.10045.2.1";

    /// <summary>The identity in the files.</summary>
    /// <param name="options">The names of the files.</param>
    /// <param name="errors">A line for each flag whose file is missing or invalid.</param>
    /// <returns>Null when there are errors.</returns>
    public static ServerIdentity? Load(TlsOptions options, out IReadOnlyList<string> errors)
    {
        var problems = new List<string>();
        errors = problems;
        var certificates = ReadCertificates(FlagCatalogue.CertFile, options.CertFile, problems);
        var certificate = certificates.Count == 0 ? null : WithKey(certificates[0], options.KeyFile, problems);
        if (certificates.Count == 0)
        {
            // Also report a missing key, so that both can be fixed at once.
            ReadText(FlagCatalogue.KeyFile, options.KeyFile, problems);
        }
        if (certificate is { NotAfter: var end } && end < DateTime.Now)
        {
            problems.Add(
                $"{FlagCatalogue.CertFile}: {options.CertFile}: the certificate expired on "
                + $"{end.ToUniversalTime():yyyy-MM-dd}");
        }
        var authorities = new X509Certificate2Collection();
        foreach (var file in options.ClientCaFiles)
        {
            authorities.AddRange(ReadCertificates(FlagCatalogue.ClientCaFiles, file, problems));
        }
        if (authorities.Count > 0 && !authorities.Any(IsRoot))
        {
            problems.Add(
                $"{FlagCatalogue.ClientCaFiles}: none of the certificates is a root (self-signed), so no client "
                + "certificate could chain to one");
        }
        if (certificate is null || problems.Count > 0)
        {
            return null;
        }
        return new(certificate, [.. certificates.Skip(1)], authorities, options.ClientCertRequired);
    }

    private static bool IsRoot(X509Certificate2 certificate) =>
        certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData);

    private static X509Certificate2Collection ReadCertificates(Flag flag, string file, List<string> problems)
    {
        var certificates = new X509Certificate2Collection();
        if (ReadText(flag, file, problems) is not { } text)
        {
            return certificates;
        }
        try
        {
            certificates.ImportFromPem(text);
        }
        catch (CryptographicException)
        {
            problems.Add($"{flag}: {file}: contains an invalid certificate");
            return [];
        }
        if (certificates.Count == 0)
        {
            problems.Add($"{flag}: {file}: contains no PEM certificate");
        }
        return certificates;
    }

    private static X509Certificate2? WithKey(X509Certificate2 certificate, string file, List<string> problems)
    {
        if (ReadText(FlagCatalogue.KeyFile, file, problems) is not { } text)
        {
            return null;
        }
        if (text.Contains("ENCRYPTED", StringComparison.Ordinal))
        {
            problems.Add($"{FlagCatalogue.KeyFile}: {file}: the key is encrypted");
            return null;
        }
        using AsymmetricAlgorithm? key = certificate.PublicKey.Oid.Value switch
        {
            RsaKey => RSA.Create(),
            EllipticCurveKey => ECDsa.Create(),
            _ => null,
        };
        if (key is null)
        {
            problems.Add($"{FlagCatalogue.CertFile}: the key of the certificate is neither RSA nor ECDSA");
            return null;
        }
        try
        {
            key.ImportFromPem(text);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            problems.Add($"{FlagCatalogue.KeyFile}: {file}: contains no PEM private key of the certificate's kind");
            return null;
        }
        try
        {
            return key is RSA rsa ? certificate.CopyWithPrivateKey(rsa) : certificate.CopyWithPrivateKey((ECDsa)key);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            problems.Add($"{FlagCatalogue.KeyFile}: {file}: is not the key of the certificate");
            return null;
        }
    }

    private static string? ReadText(Flag flag, string file, List<string> problems)
    {
        if (FlagFiles.Read(flag, file, out var problem) is { } bytes)
        {
            // Some editors begin a file with a byte order mark.
            return System.Text.Encoding.UTF8.GetString(bytes).TrimStart('\uFEFF');
        }
        problems.Add(problem);
        return null;
    }
}
