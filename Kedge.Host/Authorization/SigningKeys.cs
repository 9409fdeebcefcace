using Microsoft.IdentityModel.Tokens;

namespace Kedge.Host.Authorization;

/// <summary>The current keys of an issuer.</summary>
public sealed class SigningKeys
{
    private readonly AsymmetricSecurityKey[] _keys;
    private readonly HashSet<string> _identity;

    private SigningKeys(AsymmetricSecurityKey[] keys, HashSet<string> identity) =>
        (_keys, _identity) = (keys, identity);

    public int Count => _keys.Length;

    /// <summary>
    /// Takes the keys of the issuer's key set, except symmetric ones: the set is public, so anyone could sign with
    /// those.
    /// </summary>
    public static SigningKeys Of(IEnumerable<SecurityKey> set)
    {
        var keys = set.OfType<AsymmetricSecurityKey>().ToArray();
        return new(
            keys,
            keys.Select(key => $"{key.KeyId} {Convert.ToHexString(key.ComputeJwkThumbprint())}").ToHashSet());
    }

    public bool HasSameKeys(SigningKeys other) => _identity.SetEquals(other._identity);

    /// <summary>The keys that may have signed a token: those with its key ID, or all if it has none.</summary>
    public IReadOnlyList<SecurityKey> For(string? keyId) =>
        string.IsNullOrEmpty(keyId) ? _keys : Array.FindAll(_keys, key => key.KeyId == keyId);
}
