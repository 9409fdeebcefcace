using System.Globalization;

namespace Kedge.Host.Certificates;

/// <summary>What a reload changed.</summary>
public sealed record CertificateChanges(NamedCertificates Before, NamedCertificates After)
{
    /// <summary>The sources that are newly quarantined, or now for another reason.</summary>
    public IEnumerable<QuarantinedCertificate> Rejected => After.Quarantined.Except(Before.Quarantined);

    /// <summary>Logs each certificate that was added, replaced, removed or rejected.</summary>
    public void Log(ILogger logger)
    {
        var known = Before.Serving.ToDictionary(certificate => certificate.Source);
        foreach (var (_, source, identity, _) in After.Serving)
        {
            if (!known.Remove(source, out var old) || !old.Identity.Facts.Equals(identity.Facts))
            {
                logger.LogInformation(
                    "new connections get the certificate {Source}, for {Names}, which expires on {Expiry}",
                    source,
                    string.Join(", ", identity.Facts.Names),
                    identity.Facts.NotAfter.UtcDateTime.ToString("u", CultureInfo.InvariantCulture));
            }
        }
        foreach (var source in known.Keys)
        {
            logger.LogInformation("the certificate {Source} is gone", source);
        }
        foreach (var quarantined in Rejected)
        {
            logger.LogError(
                "the certificate {Source} is rejected; {Consequence}: {Problem}",
                quarantined.Source,
                quarantined.IsKept ? "the previous one stays active" : "it is not used",
                quarantined.Problem);
        }
    }
}
