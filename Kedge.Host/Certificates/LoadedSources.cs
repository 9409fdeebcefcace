namespace Kedge.Host.Certificates;

/// <summary>Where certificates are found that are chosen by name.</summary>
public enum CertificateOrigin
{
    Directory,
    Secret,
}

/// <summary>What was found at all sources of one origin.</summary>
/// <param name="Pairs">What was read, each with a source of its own.</param>
/// <param name="Unreadable">What may hold further sources, but cannot be read.</param>
/// <param name="ProblemOfAbsent">
/// Why a source that was found before and is not among <paramref name="Pairs"/> may still exist; null when it is gone.
/// </param>
public sealed record LoadedSources(
    CertificateOrigin Origin,
    IReadOnlyList<LoadedPair> Pairs,
    IReadOnlyList<LoadedPair> Unreadable,
    Func<string, string?> ProblemOfAbsent);
