using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>Which tokens of an issuer kedge accepts, and which claims it keeps.</summary>
/// <param name="issuer">The issuer, with its rules for tokens.</param>
/// <param name="claims">The claims that the configuration asks for, in any order.</param>
public sealed class TokenPolicy(TokenIssuer issuer, IEnumerable<string> claims)
{
    public TokenIssuer Issuer { get; } = issuer;

    /// <summary>Sorted, without duplicates.</summary>
    public IReadOnlyList<string> Claims { get; } = [.. claims.Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Whether a token that one policy accepted need not be verified again for the other.</summary>
    public bool IsSameAs(TokenPolicy other) => Issuer.Equals(other.Issuer) && Claims.SequenceEqual(other.Claims);
}
