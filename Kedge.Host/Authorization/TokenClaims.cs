using System.Text.Json;
using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>Reads the claims of a token that kedge keeps.</summary>
internal static class TokenClaims
{
    /// <summary>The token with its permissions and the claims that the policy asks for.</summary>
    public static VerifiedToken Read(JsonElement claims, TokenPolicy policy) => VerifiedToken.Of(
        policy.Issuer.Name,
        PermissionsOf(claims, policy.Issuer.PermsClaim),
        Texts(claims, "sub") is [var subject] ? subject : "",
        from name in policy.Claims
        let values = Texts(claims, name)
        where values.Length > 0
        select KeyValuePair.Create(name, values));

    /// <summary>The audiences: the claim is a string or a list (RFC 7519, 4.1.3).</summary>
    public static string[] Audiences(JsonElement claims) => Texts(claims, "aud");

    /// <summary>The values of a claim as strings; objects have none.</summary>
    public static string[] Texts(JsonElement claims, string name) => ClaimPath.Find(claims, name) switch
    {
        null => [],
        { ValueKind: JsonValueKind.Array } list => [.. list.EnumerateArray().Select(Text).OfType<string>()],
        { } value => Text(value) is { } text ? [text] : [],
    };

    private static Permissions PermissionsOf(JsonElement claims, string name)
    {
        // A list is not the same as a string, even when it has one entry.
        if (name.Length == 0 || ClaimPath.Find(claims, name) is not { } claim)
        {
            return Permissions.None;
        }
        return claim.ValueKind switch
        {
            JsonValueKind.String => Permissions.OfText(claim.GetString()),
            JsonValueKind.Array => Permissions.OfList(
                from entry in claim.EnumerateArray()
                where entry.ValueKind == JsonValueKind.String
                select entry.GetString()!),
            _ => Permissions.None,
        };
    }

    private static string? Text(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString(),
        JsonValueKind.Number => value.GetRawText(),
        JsonValueKind.True => "true",
        JsonValueKind.False => "false",
        _ => null,
    };
}
