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
    private ServerIdentity? _checked;
    private DateTimeOffset _checkedAt;

    /// <summary>Cheap to call often: most calls find nothing due. For one caller at a time.</summary>
    public void Check()
    {
        var identity = certificates.Current;
        var now = clock.GetUtcNow();
        if (identity == _checked && now - _checkedAt < Repetition)
        {
            return;
        }
        _checked = identity;
        _checkedAt = now;
        Warn("server certificate", identity.Certificate.Subject, identity.Certificate.NotAfter, now);
        foreach (var authority in identity.ClientAuthorities)
        {
            Warn("client CA", authority.Subject, authority.NotAfter, now);
        }
    }

    private void Warn(string kind, string subject, DateTime localEnd, DateTimeOffset now)
    {
        var end = new DateTimeOffset(localEnd);
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
