using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>
/// The verified token of a request. Kept only where somebody asks for it later: the route
/// (<see cref="RouteInfo.NamesToken"/>), or the issuer, for the headers of the backend.
/// </summary>
internal static class RequestToken
{
    private static readonly object Key = new();

    /// <summary>Null when the request has no verified token, or nobody asks for it.</summary>
    public static VerifiedToken? Of(HttpContext context) =>
        context.Items.TryGetValue(Key, out var value) ? value as VerifiedToken : null;

    public static void Keep(HttpContext context, VerifiedToken token) => context.Items[Key] = token;
}
