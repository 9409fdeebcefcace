using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Kedge.Host.Certificates;
using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>
/// Describes the caller's verified certificate to a backend, in the syntax of Envoy's X-Forwarded-Client-Cert:
/// <c>Hash=…;Subject="…";URI=…;DNS=…</c>, the last two once for each name.
/// </summary>
internal static class ForwardedClientCert
{
    private static readonly ConditionalWeakTable<X509Certificate2, string> Known = [];

    /// <summary>The value of the header. Created once for each connection.</summary>
    public static string Of(X509Certificate2 certificate) => Known.GetValue(certificate, Describe);

    private static string Describe(X509Certificate2 certificate)
    {
        var hash = certificate.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant();
        var text = new StringBuilder("Hash=").Append(hash);
        text.Append(";Subject=").Append(Quoted(certificate.Subject));
        foreach (var name in CertificateNames.Of(certificate))
        {
            // The syntax has no key for email addresses.
            if (name.IsUriSan)
            {
                text.Append(";URI=").Append(QuotedIfNeeded(name.uri));
            }
            else if (name.IsDnsSan)
            {
                text.Append(";DNS=").Append(QuotedIfNeeded(name.dns));
            }
        }
        return text.ToString();
    }

    private static string QuotedIfNeeded(string value) =>
        value.AsSpan().IndexOfAny(",;=\"\\") < 0 ? LocalReply.PercentEncode(value) : Quoted(value);

    /// <summary>Escapes characters that would end the value or the header.</summary>
    private static string Quoted(string value) =>
        $"\"{LocalReply.PercentEncode(value).Replace("\\", "\\\\").Replace("\"", "\\\"")}\"";
}
