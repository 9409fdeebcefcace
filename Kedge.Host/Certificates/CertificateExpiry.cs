using System.Globalization;

namespace Kedge.Host.Certificates;

/// <summary>
/// Warns in the log of certificates that expire soon: as soon as they come into use, and then once a day.
/// </summary>
public sealed class CertificateExpiry(CertificateStore certificates, ILogger logger, TimeProvider clock)
{
    /// <summary>How long before its expiry a certificate is reported.</summary>
    public static readonly TimeSpan WarningPeriod = TimeSpan.FromDays(14);

    private static readonly TimeSpan Repetition = TimeSpan.FromDays(1);
    private HashSet<ServerIdentity> _checked = [];
    private DateTimeOffset _checkedAt;

    /// <summary>Cheap to call often: most calls find nothing due. Not thread-safe.</summary>
    public void Check()
    {
        var now = clock.GetUtcNow();
        var isDue = now - _checkedAt >= Repetition;
        if (isDue)
        {
            _checkedAt = now;
        }
        var inUse = certificates.InUse.ToList();
        foreach (var (name, identity, _) in inUse.Where(entry => isDue || !_checked.Contains(entry.Identity)))
        {
            var isDefault = name == CertificateStore.DefaultName;
            Warn(
                isDefault ? "server certificate" : "certificate",
                isDefault ? identity.Certificate.Subject : name,
                identity.Facts.NotAfter,
                now);
            if (!isDefault)
            {
                continue;
            }
            foreach (var authority in identity.Demands.Authorities)
            {
                Warn("client CA", authority.Subject, new(authority.NotAfter), now);
            }
        }
        _checked = [.. inUse.Select(entry => entry.Identity)];
    }

    private void Warn(string kind, string subject, DateTimeOffset end, DateTimeOffset now)
    {
        var left = end - now;
        if (left <= WarningPeriod)
        {
            logger.LogWarning(
                "the {Kind} {Subject} {Verb} on {Expiry}",
                kind,
                subject,
                left > TimeSpan.Zero ? $"expires in {(int)left.TotalDays} days," : "has expired,",
                end.ToUniversalTime().ToString("u", CultureInfo.InvariantCulture));
        }
    }
}
