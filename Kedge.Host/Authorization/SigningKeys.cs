using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Kedge.Host.Authorization;

/// <summary>
/// The keys that a provider signs with at a time, and the tokens that were found valid with them: when a key goes, what it
/// signed must be looked at again.
/// </summary>
public sealed class SigningKeys
{
    private readonly AsymmetricSecurityKey[] keys;
    private readonly HashSet<string> identity;

    private SigningKeys(AsymmetricSecurityKey[] keys, HashSet<string> identity, TokenCache known) =>
        (this.keys, this.identity, Known) = (keys, identity, known);

    public TokenCache Known { get; }
    public int Count => keys.Length;

    /// <summary>Those of the provider's key set. Symmetric ones are left out: what everybody can read proves nothing.</summary>
    public static SigningKeys Of(OpenIdConnectConfiguration configuration, TimeProvider time)
    {
        var keys = configuration.SigningKeys.OfType<AsymmetricSecurityKey>().ToArray();
        var identity = keys.Select(key => $"{key.KeyId} {Convert.ToHexString(key.ComputeJwkThumbprint())}").ToHashSet();
        return new(keys, identity, new(time));
    }

    public bool HasSameKeys(SigningKeys other) => identity.SetEquals(other.identity);

    /// <summary>The keys that may have signed a token: those with its key id; all, when it names none.</summary>
    public IReadOnlyList<SecurityKey> For(string? keyId) =>
        string.IsNullOrEmpty(keyId) ? keys : Array.FindAll(keys, key => key.KeyId == keyId);
}
