namespace Kedge.Client;

/// <summary>A credential. Its text is in no log: <see cref="ToString"/> hides it.</summary>
/// <param name="Value">What follows the scheme in the header.</param>
/// <param name="Scheme">The authentication scheme.</param>
/// <param name="ExpiresAt">Null = it does not expire, or nobody knows when.</param>
public sealed record AuthToken(string Value, string Scheme = "Bearer", DateTimeOffset? ExpiresAt = null)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Scheme} ******";

    internal string Header => $"{Scheme} {Value}";
}

/// <summary>
/// Where credentials are from. Called for each request; must be fast once it has a token, and thread-safe.
/// </summary>
public interface ITokenSource
{
    /// <summary>For messages.</summary>
    string Name { get; }

    /// <summary>A token that is valid now.</summary>
    /// <exception cref="TokenException">There is none.</exception>
    ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel);

    /// <summary>The token was rejected: the next one must be another, if there is one.</summary>
    void Invalidate(AuthToken token)
    {
    }
}

/// <summary>A source has no token to give. The message says why and has no secrets.</summary>
public class TokenException(string source, string message, Exception? inner = null)
    : Exception($"auth source {source}: {message}", inner)
{
    /// <summary>The name of the source.</summary>
    public string SourceName { get; } = source;
}

/// <summary>A source has no token until a person logs in.</summary>
public sealed class LoginRequiredException(string source, string message) : TokenException(source, message);
