using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>
/// The verified token of a request. Kept only if it is needed later: by the route
/// (<see cref="RouteInfo.NamesToken"/>), or by the issuer, for the headers that the backend receives.
/// </summary>
internal static class RequestToken
{
    private static readonly object Key = new();

    /// <summary>Null when the request has no verified token, or nothing needs it.</summary>
    public static VerifiedToken? Of(HttpContext context) =>
        context.Items.TryGetValue(Key, out var value) ? value as VerifiedToken : null;

    public static void Keep(HttpContext context, VerifiedToken token) => context.Items[Key] = token;
}
