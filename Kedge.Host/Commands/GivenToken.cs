using System.Text.Json;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Flags;

namespace Kedge.Host.Commands;

/// <summary>The token claims that <c>kedge explain</c> is given. Nothing is verified.</summary>
internal static class GivenToken
{
    /// <summary>The claims; null when none are given, or when the text is not an object.</summary>
    public static JsonElement? Parse(string text, out string problem)
    {
        problem = "";
        if (text.Length == 0)
        {
            return null;
        }
        try
        {
            using var document = JsonDocument.Parse(text);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                return document.RootElement.Clone();
            }
            problem = "must be a JSON object";
        }
        catch (JsonException e)
        {
            problem = $"is not JSON: {e.Message}";
        }
        return null;
    }

    /// <summary>What the deciding rule and the flags say about the token.</summary>
    public static IEnumerable<string> Lines(
        ExplainReport report, JsonElement claims, Configuration configuration, AuthorizationOptions options)
    {
        var name = claims.TryGetProperty("iss", out var iss) && iss.ValueKind == JsonValueKind.String
            ? iss.GetString()
            : null;
        var known = configuration.Director.TokenIssuers.Append(Authorizer.IssuerOf(options)).OfType<TokenIssuer>();
        var issuer = known.FirstOrDefault(issuer => issuer.Issuer == name);
        var asked = Protocol.All
            .SelectMany(protocol => configuration.Routes[protocol].Concat(configuration.AdhocRules[protocol]))
            .SelectMany(rule => rule.Demands.Claims);
        return report.TokenLines(
            Authorizer.DemandsOf(options),
            issuer is null ? null : TokenClaims.Read(claims, new TokenPolicy(issuer, asked)),
            TokenClaims.Audiences(claims),
            issuer is null ? [] : issuer.Audiences);
    }
}
