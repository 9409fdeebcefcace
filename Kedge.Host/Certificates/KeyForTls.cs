using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Certificates;

/// <summary>Creates certificates whose key the system's TLS can use.</summary>
internal static class KeyForTls
{
    /// <summary>
    /// Returns the same certificate, except on Windows. TLS there does not use a key that exists only in memory, such
    /// as one from a PEM file: the copy's key is in a file of the user's, which is removed with the copy.
    /// </summary>
    public static X509Certificate2 Of(X509Certificate2 certificate) => OperatingSystem.IsWindows()
        ? X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), password: null)
        : certificate;
}
