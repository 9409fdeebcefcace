using Kedge.Host.Certificates;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>The certificates of the server, as the status page shows them.</summary>
internal static class CertificateViews
{
    private const int ShownNames = 3;

    /// <summary>The default certificate, then the others by their expiry, then those that cannot be used.</summary>
    public static IEnumerable<CertificateView> Of(CertificateStore certificates, DateTimeOffset now)
    {
        var rejected = certificates.Errors;
        var unused = certificates.Unused().Select(static one => one.Source).ToHashSet();
        var inUse = certificates.InUse
            .Select(entry => (entry.Name, entry.Identity, IsDefault: entry.Name == CertificateStore.DefaultName))
            .OrderBy(static entry => (!entry.IsDefault, entry.Identity.Facts.NotAfter));
        foreach (var (name, identity, isDefault) in inUse)
        {
            var problem = isDefault && rejected.Count > 0
                ? $"changed files were rejected: {string.Join("; ", rejected)}"
                : "";
            var isIdle = !isDefault && unused.Contains(name);
            yield return Of(name, identity, problem, isIdle, now);
        }
        foreach (var quarantined in certificates.Named.Quarantined)
        {
            yield return new CertificateView(
                quarantined.Source,
                "",
                "quarantined",
                Tone.Warning,
                null,
                quarantined.IsKept ? $"{quarantined.Problem}; the previous one is in use" : quarantined.Problem);
        }
    }

    private static CertificateView Of(
        string name, ServerIdentity identity, string problem, bool isIdle, DateTimeOffset now)
    {
        var end = identity.Facts.NotAfter;
        var left = end - now;
        var (state, tone) =
            left <= TimeSpan.Zero ? ("expired", Tone.Bad)
            : isIdle ? ("unused", Tone.Quiet)
            : ($"valid for {(int)left.TotalDays} d",
                left <= CertificateExpiry.WarningPeriod || problem.Length > 0 ? Tone.Warning : Tone.Good);
        var names = identity.Facts.Names;
        var shown = string.Join(", ", names.Take(ShownNames));
        return new CertificateView(
            name,
            names.Length > ShownNames ? $"{shown} and {names.Length - ShownNames} more"
                : shown.Length > 0 ? shown
                : identity.Certificate.Subject,
            state,
            tone,
            end.ToUniversalTime(),
            isIdle ? "another certificate is used for each of its names" : problem);
    }
}
