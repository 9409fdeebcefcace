using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>Which tokens of an issuer are accepted, and what is kept of them.</summary>
/// <param name="issuer">The issuer with what it accepts.</param>
/// <param name="claims">The claims that the configuration asks for, in any order.</param>
public sealed class TokenPolicy(TokenIssuer issuer, IEnumerable<string> claims)
{
    public TokenIssuer Issuer { get; } = issuer;

    /// <summary>In order, without repetitions.</summary>
    public IReadOnlyList<string> Claims { get; } = [.. claims.Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Whether tokens that one of them accepted need not be verified again for the other.</summary>
    public bool IsSameAs(TokenPolicy other) => Issuer.Equals(other.Issuer) && Claims.SequenceEqual(other.Claims);
}
