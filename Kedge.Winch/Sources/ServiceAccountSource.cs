using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Kedge.Client;
using Kedge.Client.Domain.Decoded;

namespace Kedge.Winch.Sources;

/// <summary>
/// Tokens for a Google service account: an assertion signed with its key, exchanged for a token (RFC 7523). The key
/// itself leaves the machine only with <c>unsafe_post_key</c>.
/// </summary>
internal static class ServiceAccountSource
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromHours(1);

    public static ITokenSource Create(string name, ServiceAccount account, OidcProvider provider) =>
        new CachedTokenSource(
            name,
            async cancel =>
            {
                try
                {
                    var key = await File.ReadAllTextAsync(FileStore.Expand(account.KeyPath), cancel);
                    var answer = await provider.GrantAsync(
                        account.UnsafePostKey
                            ? new()
                            {
                                ["grant_type"] = "service_account",
                                ["service_account"] = key,
                                ["scope"] = string.Join(' ', account.Scopes),
                            }
                            : new()
                            {
                                ["grant_type"] = "urn:ietf:params:oauth:grant-type:jwt-bearer",
                                ["assertion"] = Assertion(account, key, await provider.TokenEndpointAsync(cancel)),
                                ["scope"] = string.Join(' ', account.Scopes),
                            },
                        cancel);
                    var token = OidcProvider.Text(answer, "id_token");
                    if (token.Length == 0)
                    {
                        throw new TokenException(name, "the provider gave no ID token");
                    }
                    var audience = account.TargetAudience.Length > 0 ? account.TargetAudience : account.ClientId;
                    var end = await provider.VerifyAsync(token, nonce: null, audience, cancel);
                    return new AuthToken(token, ExpiresAt: end);
                }
                catch (Exception e)
                    when (e is ProviderException or HttpRequestException or IOException or UnauthorizedAccessException)
                {
                    throw new TokenException(name, e.Message, e);
                }
                catch (Exception e)
                    when (e
                            is CryptographicException
                                or ArgumentException
                                or System.Text.Json.JsonException
                                or FormatException)
                {
                    // Their messages may contain parts of the key.
                    throw new TokenException(name, $"{account.KeyPath} is not a service account key");
                }
            });

    private static string Assertion(ServiceAccount account, string file, string endpoint)
    {
        var json = JsonNode.Parse(file) as JsonObject ?? throw new FormatException();
        using var key = RSA.Create();
        key.ImportFromPem(OidcProvider.Text(json, "private_key"));
        var now = DateTimeOffset.UtcNow;
        var email = OidcProvider.Text(json, "client_email");
        var claims = new JsonObject
        {
            ["iss"] = email,
            ["sub"] = email,
            ["aud"] = endpoint,
            ["iat"] = now.ToUnixTimeSeconds(),
            ["exp"] = (now + Lifetime).ToUnixTimeSeconds(),
        };
        if (account.TargetAudience.Length > 0)
        {
            claims["target_audience"] = account.TargetAudience;
        }
        var header = new JsonObject
        {
            ["alg"] = "RS256",
            ["typ"] = "JWT",
            ["kid"] = OidcProvider.Text(json, "private_key_id"),
        };
        var signed = $"{Encode(header)}.{Encode(claims)}";
        var signature = key.SignData(
            Encoding.ASCII.GetBytes(signed),
            HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1);
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    private static string Encode(JsonObject json) =>
        Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json.ToJsonString()));
}
