using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Authorization;

/// <summary>
/// Reads <c>Proxy-Authorization: Bearer …</c> (RFC 6750, 2.1, for a proxy), as a header or as gRPC metadata.
/// </summary>
public static class BearerHeader
{
    /// <summary>Longer tokens, in characters, are rejected unread. Tokens of real providers are much shorter.</summary>
    public const int MaxTokenLength = 16 * 1024;

    private const string Scheme = "Bearer ";

    /// <param name="values">All values of the header.</param>
    /// <param name="token">Empty unless there is one.</param>
    /// <param name="fault">An error message for the caller; null when the header is valid or absent.</param>
    /// <returns>Whether there is a token.</returns>
    public static bool TryRead(StringValues values, out ReadOnlyMemory<char> token, out string? fault)
    {
        token = default;
        fault = null;
        if (values.Count == 0)
        {
            return false;
        }
        if (values.Count > 1)
        {
            fault = "there is more than one Proxy-Authorization";
            return false;
        }
        var value = values.ToString().AsMemory().Trim();
        if (!value.Span.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            fault = "Proxy-Authorization is not of the form 'Bearer <token>'";
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
