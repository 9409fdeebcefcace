namespace Kedge.Client;

/// <summary>A credential. Its text never appears in logs: <see cref="ToString"/> hides it.</summary>
/// <param name="Value">The text after the scheme in the header.</param>
/// <param name="Scheme">The authentication scheme.</param>
/// <param name="ExpiresAt">When it expires; null = never, or unknown.</param>
public sealed record AuthToken(string Value, string Scheme = "Bearer", DateTimeOffset? ExpiresAt = null)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Scheme} ******";

    internal string Header => $"{Scheme} {Value}";
}

/// <summary>
/// A source of credentials. Called for each request; must be fast once it has a token, and thread-safe.
/// </summary>
public interface ITokenSource
{
    /// <summary>The name of the source, for messages.</summary>
    string Name { get; }

    /// <summary>A token that is valid now.</summary>
    /// <exception cref="TokenException">There is none.</exception>
    ValueTask<AuthToken> GetTokenAsync(CancellationToken cancel);

    /// <summary>Reports that a token was rejected: the next one must be a different one, if there is one.</summary>
    void Invalidate(AuthToken token)
    {
    }
}

/// <summary>A source has no token to give. The message says why and contains no secrets.</summary>
public class TokenException(string source, string message, Exception? inner = null)
    : Exception($"auth source {source}: {message}", inner)
{
    /// <summary>The name of the source.</summary>
    public string SourceName { get; } = source;
}

/// <summary>A source has no token until a user logs in.</summary>
public sealed class LoginRequiredException(string source, string message) : TokenException(source, message);
