using Kedge.Host.Flags;

namespace Kedge.Host.Certificates;

/// <summary>The files of one certificate in a directory.</summary>
/// <param name="Source">Its name in messages and metrics: the path of the files without their ending.</param>
public sealed record PairFiles(string Source, string CertFile, string KeyFile);

/// <summary>The result of reading a certificate and its key.</summary>
/// <param name="Source">Its name in messages and metrics.</param>
/// <param name="Pair">Null when there are <paramref name="Problems"/>.</param>
/// <param name="Problems">What is wrong.</param>
public sealed record LoadedPair(string Source, PemPair? Pair, IReadOnlyList<PairProblem> Problems)
{
    public string Problem => string.Join("; ", Problems.Select(static problem => problem.Text));
}

/// <summary>A directory that cannot be read.</summary>
public sealed record UnreadableDirectory(string Path, string Problem);

/// <summary>
/// Finds certificates in directories: <c>NAME.crt</c> and <c>NAME.key</c>, or subdirectories with <c>tls.crt</c> and
/// <c>tls.key</c>, as Secrets are mounted and cert-manager writes them.
/// </summary>
public static class CertificateDirectories
{
    /// <summary>Reads all pairs. An invalid one does not affect the others.</summary>
    public static LoadedSources Read(IReadOnlyList<string> directories)
    {
        var pairs = Pairs(directories, out var unreadable);
        return new(
            CertificateOrigin.Directory,
            [.. pairs.AsParallel().AsOrdered().Select(Read)],
            [.. unreadable.Select(directory => new LoadedPair(
                directory.Path, null, [new(PairFault.Unreadable, directory.Problem)]))],
            // A directory that cannot be read may still contain the certificates found there before.
            source => unreadable.FirstOrDefault(
                directory => directory.Path == Path.GetDirectoryName(source))?.Problem);
    }

    /// <summary>The pairs in the directories, in the order of their names.</summary>
    public static IReadOnlyList<PairFiles> Pairs(
        IReadOnlyList<string> directories, out IReadOnlyList<UnreadableDirectory> unreadable)
    {
        var pairs = new List<PairFiles>();
        var failed = new List<UnreadableDirectory>();
        foreach (var directory in directories.Select(Path.TrimEndingDirectorySeparator).Distinct())
        {
            if (ProblemOf(directory, pairs) is { } problem)
            {
                failed.Add(new(directory, problem));
            }
        }
        unreadable = failed;
        return pairs;
    }

    /// <summary>Adds the pairs of a directory, or returns why it cannot be read.</summary>
    private static string? ProblemOf(string directory, List<PairFiles> pairs)
    {
        var flag = FlagCatalogue.CertDirs;
        try
        {
            pairs.AddRange(
                Directory.EnumerateFileSystemEntries(directory)
                    .Order(StringComparer.Ordinal)
                    .Select(FilesAt)
                    .OfType<PairFiles>());
            return null;
        }
        catch (DirectoryNotFoundException)
        {
            return $"{flag}: {directory}: no such directory";
        }
        catch (UnauthorizedAccessException)
        {
            return $"{flag}: {directory}: permission denied";
        }
        catch (Exception e) when (e is IOException or ArgumentException)
        {
            return $"{flag}: {directory}: {e.Message}";
        }
    }

    private static PairFiles? FilesAt(string path)
    {
        // Kubernetes keeps the versions of a mounted Secret in such directories.
        if (Path.GetFileName(path).StartsWith("..", StringComparison.Ordinal))
        {
            return null;
        }
        if (Directory.Exists(path))
        {
            var (certificate, key) = (Path.Combine(path, "tls.crt"), Path.Combine(path, "tls.key"));
            return Path.Exists(certificate) || Path.Exists(key) ? new(path, certificate, key) : null;
        }
        if (Path.GetExtension(path) != ".crt")
        {
            return null;
        }
        var files = new PairFiles(Path.ChangeExtension(path, null), path, Path.ChangeExtension(path, ".key"));
        // cert-manager's Secrets also contain the CA's certificate, without its key.
        return Path.GetFileName(path) == "ca.crt" && !Path.Exists(files.KeyFile) ? null : files;
    }

    private static LoadedPair Read(PairFiles files)
    {
        var flag = FlagCatalogue.CertDirs;
        var problems = new List<PairProblem>();
        return new(
            files.Source, TlsFiles.ReadPair(flag, files.CertFile, flag, files.KeyFile, problems), problems);
    }
}
