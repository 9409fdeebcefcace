using System.Security.Cryptography;

namespace Kedge.Host.Certificates;

/// <summary>A certificate that kedge chooses by its names.</summary>
/// <param name="Source">Its name in messages and metrics.</param>
/// <param name="Handshakes">Counts the handshakes with the certificates of this source.</param>
public sealed record NamedCertificate(
    CertificateOrigin Origin, string Source, ServerIdentity Identity, HandshakeCounts Handshakes);

/// <summary>A source that contains no valid certificate.</summary>
/// <param name="IsKept">Whether its last valid certificate is still used.</param>
public sealed record QuarantinedCertificate(CertificateOrigin Origin, string Source, string Problem, bool IsKept);

/// <summary>The certificates that are chosen by name. Immutable; a reload creates a new one.</summary>
public sealed class NamedCertificates
{
    public static readonly NamedCertificates None = new([], []);

    private NamedCertificates(
        IReadOnlyList<NamedCertificate> serving, IReadOnlyList<QuarantinedCertificate> quarantined) =>
        (Serving, Quarantined) = (serving, quarantined);

    public IReadOnlyList<NamedCertificate> Serving { get; }

    public IReadOnlyList<QuarantinedCertificate> Quarantined { get; }

    /// <summary>The same certificates, with other demands on clients.</summary>
    public NamedCertificates With(ClientDemands demands) => new(
        [.. Serving.Select(certificate => certificate with { Identity = certificate.Identity.With(demands) })],
        Quarantined);

    /// <summary>
    /// These certificates, with those of one origin replaced by the loaded ones. A source that has become invalid keeps
    /// its last valid certificate, and a certificate that does not change keeps its context, so that TLS sessions can
    /// be resumed.
    /// </summary>
    /// <param name="loaded">The certificates of the origin.</param>
    /// <param name="server">The identity whose client demands and TLS policy apply to all certificates.</param>
    /// <param name="now">Certificates that have expired at this time are not valid.</param>
    public NamedCertificates With(LoadedSources loaded, ServerIdentity server, DateTimeOffset now)
    {
        var origin = loaded.Origin;
        var before = Serving.Where(certificate => certificate.Origin == origin)
            .ToDictionary(certificate => certificate.Source);
        var found = loaded.Pairs.Select(pair => pair.Source).ToHashSet();
        IEnumerable<LoadedPair> absent =
            from source in before.Keys
            where !found.Contains(source)
            let problem = loaded.ProblemOfAbsent(source)
            where problem is not null
            select new LoadedPair(source, null, [new(PairFault.Unreadable, problem)]);
        var results = loaded.Pairs.Concat(absent)
            .AsParallel()
            .AsOrdered()
            .Select(pair =>
            {
                var known = before.GetValueOrDefault(pair.Source);
                var (identity, problem) = IdentityOf(pair, server, known?.Identity, now);
                return (pair.Source, Known: known, Identity: identity, Problem: problem);
            })
            .ToList();
        return new(
            [
                .. Serving.Where(certificate => certificate.Origin != origin),
                .. from result in results
                   let identity = result.Identity ?? result.Known?.Identity
                   where identity is not null
                   let handshakes = result.Known?.Handshakes ?? new HandshakeCounts()
                   select new NamedCertificate(origin, result.Source, identity, handshakes),
            ],
            [
                .. Quarantined.Where(certificate => certificate.Origin != origin),
                .. from result in results
                   where result.Identity is null
                   select new QuarantinedCertificate(
                       origin, result.Source, result.Problem, IsKept: result.Known is not null),
                .. from place in loaded.Unreadable
                   select new QuarantinedCertificate(origin, place.Source, place.Problem, IsKept: false),
            ]);
    }

    private static (ServerIdentity? Identity, string Problem) IdentityOf(
        LoadedPair loaded, ServerIdentity server, ServerIdentity? known, DateTimeOffset now)
    {
        if (loaded.Pair is not { } pair)
        {
            return (null, loaded.Problem);
        }
        if (new DateTimeOffset(pair.Certificate.NotAfter) is var end && end < now)
        {
            return (null, $"the certificate expired on {end.ToUniversalTime():yyyy-MM-dd}");
        }
        if (known is not null && known.Presents(pair))
        {
            return (known, "");
        }
        try
        {
            var identity = server.With(pair);
            return TlsTrial.Problem(identity) is { } problem ? (null, problem) : (identity, "");
        }
        catch (CryptographicException e)
        {
            return (null, e.Message);
        }
    }
}
