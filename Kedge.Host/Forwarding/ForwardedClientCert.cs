using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Kedge.Host.Certificates;
using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>
/// What a backend is told of the caller's verified certificate, in the syntax of Envoy's X-Forwarded-Client-Cert:
/// <c>Hash=…;Subject="…";URI=…;DNS=…</c>, the last two once for each name.
/// </summary>
internal static class ForwardedClientCert
{
    public const string Name = "X-Forwarded-Client-Cert";

    private static readonly ConditionalWeakTable<X509Certificate2, string> Known = [];

    /// <summary>The header's value; made once for each connection.</summary>
    public static string Of(X509Certificate2 certificate) => Known.GetValue(certificate, Describe);

    private static string Describe(X509Certificate2 certificate)
    {
        var text = new StringBuilder("Hash=").Append(certificate.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant());
        text.Append(";Subject=").Append(Quoted(certificate.Subject));
        foreach (var name in CertificateNames.Of(certificate))
        {
            // The syntax has no key for an email name.
            if (name.IsUriSan)
            {
                text.Append(";URI=").Append(IfNeededQuoted(name.uri));
            }
            else if (name.IsDnsSan)
            {
                text.Append(";DNS=").Append(IfNeededQuoted(name.dns));
            }
        }
        return text.ToString();
    }

    private static string IfNeededQuoted(string value) =>
        value.AsSpan().IndexOfAny(",;=\"\\") < 0 ? LocalReply.PercentEncode(value) : Quoted(value);

    /// <summary>What a certificate says must not end the value, nor the header.</summary>
    private static string Quoted(string value) =>
        $"\"{LocalReply.PercentEncode(value).Replace("\\", "\\\\").Replace("\"", "\\\"")}\"";
}
