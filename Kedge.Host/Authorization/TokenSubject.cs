namespace Kedge.Host.Authorization;

/// <summary>Whom the verified token of a request was issued to. Kept only for routes that forward it.</summary>
internal static class TokenSubject
{
    private static readonly object Key = new();

    /// <summary>Null when the request has no verified token, or its route does not forward the subject.</summary>
    public static string? Of(HttpContext context) =>
        context.Items.TryGetValue(Key, out var subject) ? subject as string : null;

    public static void Keep(HttpContext context, string subject) => context.Items[Key] = subject;
}
