using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>
/// Counts the verification results of one issuer's tokens. The counters live as long as the process, so that they never
/// decrease; there is one object for each name that was ever configured.
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

    /// <summary>Counts a received token by its state, and returns the state.</summary>
    public TokenState Count(TokenState state)
    {
        Interlocked.Increment(
            ref state.IsValidToken || state.IsStaticToken ? ref _valid
            : ref state.IsUnverifiableToken ? ref _unavailable
            : ref _invalid);
        return state;
    }
}
