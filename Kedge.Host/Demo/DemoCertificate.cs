using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kedge.Host.Certificates;

namespace Kedge.Host.Demo;

/// <summary>A certificate for this machine only. It exists only in memory, for as long as the process runs.</summary>
public static class DemoCertificate
{
    public static ServerIdentity Create(TimeProvider clock)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        names.AddIpAddress(IPAddress.IPv6Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(
            new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], critical: false));
        var now = clock.GetUtcNow();
        var certificate = request.CreateSelfSigned(now.AddMinutes(-5), now.AddDays(90));
        return new(new(certificate, []), ClientDemands.None, TlsPolicy.Default);
    }
}
