namespace Kedge.Host.Authorization;

/// <summary>
/// Whom the verified token of a request was issued to, and by whom. Kept only for routes that ask for it
/// (<see cref="Domain.RouteInfo.NamesToken"/>).
/// </summary>
internal static class TokenSubject
{
    private static readonly object Subject = new();
    private static readonly object Issuer = new();

    /// <summary>Null when the request has no verified token, or its route does not ask for the subject.</summary>
    public static string? Of(HttpContext context) => Kept(context, Subject);

    /// <summary>The name of the issuer; null as for <see cref="Of"/>.</summary>
    public static string? IssuerOf(HttpContext context) => Kept(context, Issuer);

    public static void Keep(HttpContext context, string subject, string issuer) =>
        (context.Items[Subject], context.Items[Issuer]) = (subject, issuer);

    private static string? Kept(HttpContext context, object key) =>
        context.Items.TryGetValue(key, out var value) ? value as string : null;
}
