using System.Security.Cryptography;
using Kedge.Domain;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Microsoft.FSharp.Core;

namespace Kedge.Host.Commands;

/// <summary>The certificates that a server with the same flags would have, for reports.</summary>
/// <param name="Certificates">The certificates that it would use.</param>
/// <param name="Rejected">The certificates that it would reject.</param>
public sealed record InspectedCertificates(
    ServerCertificates Certificates, IReadOnlyList<RejectedCertificate> Rejected)
{
    /// <summary>Writes a line for each rejected certificate to standard error.</summary>
    public void WriteProblems(Invocation invocation)
    {
        foreach (var one in Rejected)
        {
            invocation.Error.WriteLine(
                $"{invocation.Program}: the certificate {one.Source} is not used: {one.Problem}");
        }
    }
}

/// <summary>Reads the certificates that flags name.</summary>
public static class CertificateFlags
{
    public static readonly Flag<DateTimeOffset?> Now = new()
    {
        Name = "now",
        Group = FlagGroup.Command,
        Type = InstantType.Type,
        Default = null,
        DefaultHelp = "the current time",
        Help = "the time at which certificates are valid or have expired (RFC 3339)",
    };

    /// <summary>The server flags that concern certificates.</summary>
    public static IEnumerable<Flag> OfServer =>
    [
        FlagCatalogue.CertFile,
        FlagCatalogue.KeyFile,
        FlagCatalogue.CertDirs,
        FlagCatalogue.SecretNamespaces,
        FlagCatalogue.StrictSni,
        FlagCatalogue.TlsMinVersion,
        FlagCatalogue.TlsCiphers,
    ];

    /// <summary>Whether any certificate is given.</summary>
    public static bool AreGiven(FlagValues flags) =>
        flags.IsGiven(FlagCatalogue.CertFile) || flags.IsGiven(FlagCatalogue.CertDirs);

    /// <summary>The certificates that the flags name; null when they name none.</summary>
    public static InspectedCertificates? Read(FlagValues flags) =>
        AreGiven(flags)
            ? Read(TlsOptions.From(flags), flags.IsGiven(FlagCatalogue.CertFile), TimeOf(flags))
            : null;

    public static DateTimeOffset TimeOf(FlagValues flags) => flags.Get(Now) ?? DateTimeOffset.UtcNow;

    /// <summary>Reads the files.</summary>
    /// <param name="options">Where the files are.</param>
    /// <param name="hasDefault">Whether to read the default certificate.</param>
    /// <param name="now">Certificates that have expired at this time are rejected.</param>
    public static InspectedCertificates Read(TlsOptions options, bool hasDefault, DateTimeOffset now)
    {
        var rejected = new List<RejectedCertificate>();
        var fallback = hasDefault ? Default(options, rejected) : null;
        // A directory that does not exist here may exist where the server runs.
        var absent = options.CertDirs.Where(static directory => !Directory.Exists(directory)).ToList();
        foreach (var directory in absent)
        {
            rejected.Add(new(
                directory,
                CertificateFault.Absent,
                "no such directory"));
        }
        var loaded = CertificateDirectories.Read([.. options.CertDirs.Except(absent)]);
        foreach (var place in loaded.Unreadable)
        {
            rejected.Add(new(place.Source, CertificateFault.Unusable, place.Problem));
        }
        var named = new List<ReportedCertificate>();
        var policy = new TlsPolicy(options.MinVersion, options.Ciphers);
        foreach (var (certificate, rejection) in loaded.Pairs
            .AsParallel()
            .AsOrdered()
            .Select(pair => Inspect(pair, policy, now)))
        {
            if (certificate is not null)
            {
                named.Add(certificate);
            }
            else if (rejection is not null)
            {
                rejected.Add(rejection);
            }
        }
        return new(
            new ServerCertificates(
                fallback is null ? null : FSharpOption<ReportedCertificate>.Some(fallback),
                named,
                options.StrictSni,
                rejected.All(static one => !one.Fault.IsAbsent) && options.Secrets.Namespaces.Count == 0,
                now),
            rejected);
    }

    private static ReportedCertificate? Default(TlsOptions options, List<RejectedCertificate> rejected)
    {
        if (!Path.Exists(options.CertFile))
        {
            rejected.Add(new(
                options.CertFile, CertificateFault.Absent, "no such file"));
            return null;
        }
        var problems = new List<PairProblem>();
        var pair = TlsFiles.ReadPair(
            FlagCatalogue.CertFile, options.CertFile, FlagCatalogue.KeyFile, options.KeyFile, problems);
        // The server uses its default certificate even after it has expired.
        var (certificate, rejection) = Inspect(
            new LoadedPair(options.CertFile, pair, problems),
            new TlsPolicy(options.MinVersion, options.Ciphers),
            DateTimeOffset.MinValue);
        if (rejection is not null)
        {
            rejected.Add(rejection);
        }
        return certificate;
    }

    private static (ReportedCertificate? Certificate, RejectedCertificate? Rejection) Inspect(
        LoadedPair loaded, TlsPolicy policy, DateTimeOffset now)
    {
        if (loaded.Pair is not { } pair)
        {
            var isOtherKey = loaded.Problems.Any(static problem => problem.Fault == PairFault.KeyMismatch);
            return (null, new(
                loaded.Source,
                isOtherKey ? CertificateFault.WrongKey : CertificateFault.Unusable,
                loaded.Problem));
        }
        try
        {
            var identity = new ServerIdentity(pair, ClientDemands.None, policy);
            var certificate = new ReportedCertificate(loaded.Source, pair.Certificate.Issuer, identity.Facts);
            return identity.Facts.NotAfter < now
                ? (null, new(loaded.Source, CertificateFault.Expired, $"it expired on {certificate.Until}"))
                : TlsTrial.Problem(identity) is { } problem
                ? (null, new(loaded.Source, CertificateFault.Unusable, problem))
                : (certificate, null);
        }
        catch (CryptographicException e)
        {
            return (null, new(loaded.Source, CertificateFault.Unusable, e.Message));
        }
    }
}
