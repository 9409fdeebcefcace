using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Kedge.Host.Authorization;

/// <summary>
/// The current keys of a provider, with the tokens that they verified: when the keys change, all tokens are verified
/// again.
/// </summary>
public sealed class SigningKeys
{
    private readonly AsymmetricSecurityKey[] _keys;
    private readonly HashSet<string> _identity;

    private SigningKeys(AsymmetricSecurityKey[] keys, HashSet<string> identity, TokenCache known) =>
        (_keys, _identity, Known) = (keys, identity, known);

    public TokenCache Known { get; }

    public int Count => _keys.Length;

    /// <summary>
    /// The keys of the provider's key set, without symmetric ones: those are public there, so that anyone could sign
    /// with them.
    /// </summary>
    public static SigningKeys Of(OpenIdConnectConfiguration configuration, TimeProvider time)
    {
        var keys = configuration.SigningKeys.OfType<AsymmetricSecurityKey>().ToArray();
        var identity = keys.Select(key => $"{key.KeyId} {Convert.ToHexString(key.ComputeJwkThumbprint())}").ToHashSet();
        return new(keys, identity, new(time));
    }

    public bool HasSameKeys(SigningKeys other) => _identity.SetEquals(other._identity);

    /// <summary>The keys that may have signed a token: those with its key id, or all if it has none.</summary>
    public IReadOnlyList<SecurityKey> For(string? keyId) =>
        string.IsNullOrEmpty(keyId) ? _keys : Array.FindAll(_keys, key => key.KeyId == keyId);
}
