namespace Kedge.Host.Certificates;

/// <summary>How many certificates are in which state. Each source of certificates is in exactly one state.</summary>
public static class CertificateStates
{
    /// <summary>The counts, with the names that the metrics use.</summary>
    public static IEnumerable<(string Source, string State, int Count)> Count(CertificateStore certificates)
    {
        var named = certificates.Named;
        var unused = certificates.Unused().ToList();
        var isRejected = certificates.Errors.Count > 0;
        yield return ("file", "serving", isRejected ? 0 : 1);
        yield return ("file", "quarantined", isRejected ? 1 : 0);
        foreach (var origin in Enum.GetValues<CertificateOrigin>())
        {
            var source = origin.ToString().ToLowerInvariant();
            var quarantined = named.Quarantined.Where(one => one.Origin == origin).ToList();
            var idle = unused.Count(one => one.Origin == origin && !IsQuarantined(one));
            yield return (source, "serving",
                named.Serving.Count(one => one.Origin == origin && !IsQuarantined(one)) - idle);
            yield return (source, "unused", idle);
            yield return (source, "quarantined", quarantined.Count);

            bool IsQuarantined(NamedCertificate one) => quarantined.Exists(other => other.Source == one.Source);
        }
    }
}
