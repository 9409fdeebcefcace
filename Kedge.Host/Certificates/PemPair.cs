using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Certificates;

/// <summary>What can be wrong with a certificate and its key.</summary>
public enum PairFault
{
    /// <summary>One of them is missing or cannot be read.</summary>
    Unreadable,

    /// <summary>One of them has content that kedge cannot use.</summary>
    Invalid,

    /// <summary>The key belongs to another certificate.</summary>
    KeyMismatch,
}

/// <summary>A problem with a certificate and its key.</summary>
/// <param name="Text">Where the problem is, and what it is.</param>
public sealed record PairProblem(PairFault Fault, string Text);

/// <summary>A certificate with its key, and the other certificates next to it.</summary>
/// <param name="Certificate">The certificate, with its private key.</param>
/// <param name="Intermediates">The other certificates, in the order of the text.</param>
public sealed record PemPair(X509Certificate2 Certificate, X509Certificate2Collection Intermediates)
{
    private const string RsaKey = "1.2.840.113549.1.1.1";
    private const string EllipticCurveKey = "1.2.840.10045.2.1";

    /// <summary>Reads PEM texts.</summary>
    /// <param name="certText">The certificate, then its intermediates; null when it could not be read.</param>
    /// <param name="certPlace">Where the text comes from, for messages.</param>
    /// <param name="keyText">The unencrypted key; null when it could not be read.</param>
    /// <param name="keyPlace">Where the text comes from, for messages.</param>
    /// <param name="problems">Receives all problems.</param>
    /// <returns>Null when there is a problem, or a text is null.</returns>
    public static PemPair? Read(
        string? certText, string certPlace, string? keyText, string keyPlace, List<PairProblem> problems)
    {
        if (certText is null)
        {
            return null;
        }
        var certificates = Certificates(certText, certPlace, problems);
        if (certificates.Count == 0 || keyText is null)
        {
            return null;
        }
        return WithKey(certificates[0], certPlace, keyText, keyPlace, problems) is { } certificate
            ? new(certificate, [.. certificates.Skip(1)])
            : null;
    }

    /// <summary>All certificates in a PEM text; none when one is invalid.</summary>
    public static X509Certificate2Collection Certificates(string text, string place, List<PairProblem> problems)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(text);
        }
        catch (CryptographicException)
        {
            problems.Add(new(PairFault.Invalid, $"{place}: contains an invalid certificate"));
            return [];
        }
        if (certificates.Count == 0)
        {
            problems.Add(new(PairFault.Invalid, $"{place}: contains no PEM certificate"));
        }
        return certificates;
    }

    private static X509Certificate2? WithKey(
        X509Certificate2 certificate, string certPlace, string text, string keyPlace, List<PairProblem> problems)
    {
        if (text.Contains("ENCRYPTED", StringComparison.Ordinal))
        {
            problems.Add(new(PairFault.Invalid, $"{keyPlace}: the key is encrypted"));
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
            problems.Add(
                new(PairFault.Invalid, $"{certPlace}: the key of the certificate is neither RSA nor ECDSA"));
            return null;
        }
        try
        {
            key.ImportFromPem(text);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            problems.Add(new(
                PairFault.Invalid, $"{keyPlace}: contains no PEM private key of the certificate's kind"));
            return null;
        }
        try
        {
            return key is RSA rsa ? certificate.CopyWithPrivateKey(rsa) : certificate.CopyWithPrivateKey((ECDsa)key);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            problems.Add(new(PairFault.KeyMismatch, $"{keyPlace}: is not the key of the certificate"));
            return null;
        }
    }
}
