using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>
/// What came of the tokens of one issuer. The counters live as long as the process, so that they never go back; there
/// are as many as names were ever configured.
/// </summary>
internal sealed class VerificationCounters(string issuer)
{
    private long _valid;
    private long _invalid;
    private long _unavailable;

    /// <summary>The label, allocated once.</summary>
    public KeyValuePair<string, object?> Label { get; } = new("issuer", issuer);

    /// <summary>Each result with its count, as metrics name it.</summary>
    public IEnumerable<(string Result, long Count)> All =>
    [
        ("valid", Volatile.Read(ref _valid)),
        ("invalid", Volatile.Read(ref _invalid)),
        ("unavailable", Volatile.Read(ref _unavailable)),
    ];

    /// <summary>Counts a token that was sent.</summary>
    public TokenState Count(TokenState state)
    {
        Interlocked.Increment(
            ref state.IsValidToken || state.IsStaticToken ? ref _valid
            : ref state.IsUnverifiableToken ? ref _unavailable
            : ref _invalid);
        return state;
    }
}
