using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Authorization;

/// <summary>
/// Reads <c>Proxy-Authorization: Bearer …</c> or <c>Authorization: Bearer …</c> (RFC 6750, 2.1), as a header or as gRPC
/// metadata.
/// </summary>
public static class BearerHeader
{
    /// <summary>Longer tokens, in characters, are rejected unread. Tokens of real providers are much shorter.</summary>
    public const int MaxTokenLength = 16 * 1024;

    private const string Scheme = "Bearer ";

    /// <param name="name">The header.</param>
    /// <param name="values">All its values.</param>
    /// <param name="token">Empty unless there is one.</param>
    /// <param name="fault">An error message for the caller; null when the header is valid or absent.</param>
    /// <returns>Whether there is a token.</returns>
    public static bool TryRead(
        string name, StringValues values, out ReadOnlyMemory<char> token, out string? fault)
    {
        token = default;
        fault = null;
        if (values.Count == 0)
        {
            return false;
        }
        if (values.Count > 1)
        {
            fault = $"there is more than one {name}";
            return false;
        }
        var value = values.ToString().AsMemory().Trim();
        if (!value.Span.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            fault = $"{name} is not of the form 'Bearer <token>'";
            return false;
        }
        token = value[Scheme.Length..].TrimStart();
        if (token.Length > MaxTokenLength)
        {
            token = default;
            fault = "the token is too long";
            return false;
        }
        return true;
    }
}
