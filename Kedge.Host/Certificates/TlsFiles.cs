using System.Security.Cryptography.X509Certificates;
using System.Text;
using Kedge.Host.Flags;

namespace Kedge.Host.Certificates;

/// <summary>Reads the PEM files of the TLS listeners.</summary>
public static class TlsFiles
{
    /// <summary>The identity in the files.</summary>
    /// <param name="options">The names of the files.</param>
    /// <param name="errors">A line for each flag whose file is missing or invalid.</param>
    /// <returns>Null when there are errors.</returns>
    public static ServerIdentity? Load(TlsOptions options, out IReadOnlyList<string> errors)
    {
        var problems = new List<PairProblem>();
        var pair = ReadPair(FlagCatalogue.CertFile, options.CertFile, FlagCatalogue.KeyFile, options.KeyFile, problems);
        var authorities = new X509Certificate2Collection();
        foreach (var file in options.ClientCaFiles)
        {
            if (ReadText(FlagCatalogue.ClientCaFiles, file, problems) is { } text)
            {
                authorities.AddRange(
                    PemPair.Certificates(text, $"{FlagCatalogue.ClientCaFiles}: {file}", problems));
            }
        }
        var lines = problems.Select(problem => problem.Text).ToList();
        errors = lines;
        if (authorities.Count > 0 && !authorities.Any(IsRoot))
        {
            lines.Add(
                $"{FlagCatalogue.ClientCaFiles}: none of the certificates is a root (self-signed), so no client "
                + "certificate could chain to one");
        }
        if (pair is null || lines.Count > 0)
        {
            return null;
        }
        var identity = new ServerIdentity(
            pair, new ClientDemands(authorities, options.ClientCertRequired), new(options.MinVersion, options.Ciphers));
        if (TlsTrial.Problem(identity) is { } rejection)
        {
            lines.Add($"{FlagCatalogue.CertFile}: {options.CertFile}: {rejection}");
            return null;
        }
        return identity;
    }

    /// <summary>Reads a certificate and its key.</summary>
    /// <param name="certFlag">The flag that names the certificate's file, for messages.</param>
    /// <param name="certFile">The certificate, then its intermediates.</param>
    /// <param name="keyFlag">The flag that names the key's file.</param>
    /// <param name="keyFile">The key.</param>
    /// <param name="problems">Receives all problems.</param>
    /// <returns>Null when there is a problem.</returns>
    public static PemPair? ReadPair(
        Flag certFlag, string certFile, Flag keyFlag, string keyFile, List<PairProblem> problems) =>
        // Reads both in any case, so that the operator sees all missing files at once.
        PemPair.Read(
            ReadText(certFlag, certFile, problems),
            $"{certFlag}: {certFile}",
            ReadText(keyFlag, keyFile, problems),
            $"{keyFlag}: {keyFile}",
            problems);

    private static bool IsRoot(X509Certificate2 certificate) =>
        certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData);

    private static string? ReadText(Flag flag, string file, List<PairProblem> problems)
    {
        if (FlagFiles.Read(flag, file, out var problem) is { } bytes)
        {
            // Some editors begin a file with a byte order mark.
            return Encoding.UTF8.GetString(bytes).TrimStart('\uFEFF');
        }
        problems.Add(new(PairFault.Unreadable, problem));
        return null;
    }
}
