using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Certificates;

/// <summary>Certificates whose key the system's TLS can use.</summary>
internal static class KeyForTls
{
    /// <summary>
    /// The same certificate. Windows does not use a key that exists in memory only, as one from a PEM file does; there,
    /// the certificate gets a key in a file of the user, which is removed with it.
    /// </summary>
    public static X509Certificate2 Of(X509Certificate2 certificate) => OperatingSystem.IsWindows()
        ? X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), password: null)
        : certificate;
}
