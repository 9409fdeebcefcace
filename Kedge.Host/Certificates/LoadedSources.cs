namespace Kedge.Host.Certificates;

/// <summary>Where kedge finds the certificates that it chooses by name.</summary>
public enum CertificateOrigin
{
    Directory,
    Secret,
}

/// <summary>The result of reading all sources of one origin.</summary>
/// <param name="Pairs">The pairs found, each from a different source.</param>
/// <param name="Unreadable">Places that may contain further sources, but cannot be read.</param>
/// <param name="ProblemOfAbsent">
/// Why a source that was found before and is not among <paramref name="Pairs"/> may still exist; null when it is gone.
/// </param>
public sealed record LoadedSources(
    CertificateOrigin Origin,
    IReadOnlyList<LoadedPair> Pairs,
    IReadOnlyList<LoadedPair> Unreadable,
    Func<string, string?> ProblemOfAbsent);
