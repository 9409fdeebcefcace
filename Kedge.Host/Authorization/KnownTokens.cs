using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>
/// The tokens that a verifier has accepted with the current keys: when the keys change, it verifies all tokens again.
/// </summary>
internal sealed class KnownTokens(TimeProvider time)
{
    private Generation? _current;

    public TokenState? Find(SigningKeys keys, TokenHash hash) =>
        Volatile.Read(ref _current) is { } current && current.Keys == keys ? current.Tokens.Find(hash) : null;

    public void Add(SigningKeys keys, TokenHash hash, TokenState state, DateTimeOffset expires)
    {
        var current = Volatile.Read(ref _current);
        if (current is null || current.Keys != keys)
        {
            // When two requests get here at the same time, one of the tokens is lost and verified again.
            current = new(keys, new(time));
            Volatile.Write(ref _current, current);
        }
        current.Tokens.Add(hash, state, expires);
    }

    private sealed record Generation(SigningKeys Keys, TokenCache Tokens);
}
