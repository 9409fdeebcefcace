using System.Globalization;

namespace Kedge.Host.Certificates;

/// <summary>Warns in the log of certificates that will soon expire: at once when they come into use, then daily.</summary>
public sealed class CertificateExpiry(CertificateStore certificates, ILogger logger, TimeProvider clock)
{
    /// <summary>How long before its end a certificate is warned of.</summary>
    public static readonly TimeSpan Ahead = TimeSpan.FromDays(14);

    private static readonly TimeSpan Repetition = TimeSpan.FromDays(1);
    private ServerIdentity? told;
    private DateTimeOffset toldAt;

    /// <summary>To be called often, by one caller at a time; it mostly does nothing.</summary>
    public void Look()
    {
        var identity = certificates.Current;
        var now = clock.GetUtcNow();
        if (identity == told && now - toldAt < Repetition)
        {
            return;
        }
        told = identity;
        toldAt = now;
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
        if (left <= Ahead)
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
