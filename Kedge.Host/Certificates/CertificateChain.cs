using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Certificates;

/// <summary>The order in which to send certificates: each certifies the previous one (RFC 5246, 7.4.2).</summary>
internal static class CertificateChain
{
    /// <param name="certificate">The server's certificate.</param>
    /// <param name="others">The other certificates of its file, in any order.</param>
    /// <returns>All the others; those that certify nothing come last.</returns>
    public static IList<X509Certificate2> InOrder(X509Certificate2 certificate, X509Certificate2Collection others)
    {
        var rest = others.ToList();
        var chain = new List<X509Certificate2>(rest.Count);
        var last = certificate;
        while (rest.FindIndex(other => IsIssuer(other, last)) is var next and >= 0)
        {
            last = rest[next];
            chain.Add(last);
            rest.RemoveAt(next);
        }
        chain.AddRange(rest);
        return chain;
    }

    private static bool IsIssuer(X509Certificate2 issuer, X509Certificate2 of) =>
        issuer.SubjectName.RawData.AsSpan().SequenceEqual(of.IssuerName.RawData);
}
