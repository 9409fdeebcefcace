using System.Text.Json;
using Kedge.Domain;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Kedge.Host.Authorization;

/// <summary>The requirements on tokens.</summary>
/// <param name="Issuer">Their <c>iss</c>, compared character by character.</param>
/// <param name="Audience">One of their <c>aud</c>.</param>
/// <param name="PermsClaim">The claim with the permissions; empty = they have none.</param>
public sealed record OidcRequirements(string Issuer, string Audience, string PermsClaim);

/// <summary>Verifies signed tokens (RFC 7519) of one OIDC provider for one audience.</summary>
public sealed class OidcTokenVerifier(OidcRequirements requirements, OidcProvider provider, TimeProvider time)
    : ITokenVerifier
{
    /// <summary>How much the clocks of issuer and server may differ.</summary>
    public static readonly TimeSpan ClockSkew = TimeSpan.FromSeconds(30);

    // Asymmetric algorithms only. The library checks that the key's type matches.
    private static readonly string[] Algorithms =
    [
        SecurityAlgorithms.RsaSha256, SecurityAlgorithms.RsaSha384, SecurityAlgorithms.RsaSha512,
        SecurityAlgorithms.EcdsaSha256, SecurityAlgorithms.EcdsaSha384, SecurityAlgorithms.EcdsaSha512,
        SecurityAlgorithms.RsaSsaPssSha256, SecurityAlgorithms.RsaSsaPssSha384, SecurityAlgorithms.RsaSsaPssSha512,
    ];

    private static readonly TimeSpan MaxRemembered = TimeSpan.FromHours(1);

    // How long a request waits for a fetch of the keys.
    private static readonly TimeSpan FetchTimeout = TimeSpan.FromSeconds(3);

    private static readonly TokenState Malformed = TokenState.NewBadToken("the token is malformed");
    private static readonly TokenState WrongAlgorithm =
        TokenState.NewBadToken("the token's signature algorithm is not accepted");
    private static readonly TokenState UnknownKey = TokenState.NewBadToken("the token is signed with an unknown key");
    private static readonly TokenState WrongSignature = TokenState.NewBadToken("the token's signature is wrong");
    private static readonly TokenState NoKeys =
        TokenState.NewUnverifiableToken("the token cannot be verified: the OIDC provider is unavailable");

    private readonly JsonWebTokenHandler _handler = new() { MaximumTokenSizeInBytes = BearerHeader.MaxTokenLength };

    public ValueTask<TokenState> VerifyAsync(ReadOnlyMemory<char> token, CancellationToken cancellation)
    {
        // A signed token has two dots, an encrypted one four, and arbitrary text may have thousands.
        if (token.Span.Count('.') != 2)
        {
            return new(Malformed);
        }
        var hash = TokenHash.Of(token.Span);
        return provider.Keys?.Known.Find(hash) is { } known
            ? new(known)
            : VerifyUnknownAsync(token.ToString(), hash, cancellation);
    }

    private async ValueTask<TokenState> VerifyUnknownAsync(string text, TokenHash hash, CancellationToken cancellation)
    {
        if (Read(text) is not { } token)
        {
            return Malformed;
        }
        if (!Algorithms.Contains(token.Alg))
        {
            return WrongAlgorithm;
        }
        if (provider.Keys is null)
        {
            // The server has only just started.
            await WaitForAsync(provider.FirstAttempt, cancellation);
        }
        if (provider.Keys is not { } keys)
        {
            return NoKeys;
        }
        var state = await VerifyWithAsync(keys, token, hash);
        // A token without a key id whose signature no key verifies may have been signed with a new key, too.
        if (state == UnknownKey || (state == WrongSignature && string.IsNullOrEmpty(token.Kid)))
        {
            await WaitForAsync(provider.RefreshOnDemandAsync(), cancellation);
            if (provider.Keys is { } refreshed && refreshed != keys)
            {
                state = await VerifyWithAsync(refreshed, token, hash);
            }
            else if (state == UnknownKey && provider.IsUnavailable)
            {
                state = NoKeys;
            }
        }
        return state;
    }

    private async ValueTask<TokenState> VerifyWithAsync(SigningKeys keys, JsonWebToken token, TokenHash hash)
    {
        var candidates = keys.For(token.Kid);
        if (candidates.Count == 0)
        {
            return UnknownKey;
        }
        var result = await _handler.ValidateTokenAsync(token, new TokenValidationParameters
        {
            ValidIssuer = requirements.Issuer,
            ValidAudience = requirements.Audience,
            ValidAlgorithms = Algorithms,
            IssuerSigningKeys = candidates,
            TryAllIssuerSigningKeys = true,
            ValidateIssuerSigningKey = true,
            RequireExpirationTime = true,
            RequireSignedTokens = true,
            ClockSkew = ClockSkew,
        });
        if (!result.IsValid)
        {
            return Explain(result.Exception);
        }
        var state = TokenState.NewValidToken(PermissionsOf(token), token.Subject ?? "");
        keys.Known.Add(hash, state, RememberedUntil(token));
        return state;
    }

    /// <summary>Its expiry, but at most an hour: then it is verified again.</summary>
    private DateTimeOffset RememberedUntil(JsonWebToken token)
    {
        var latest = time.GetUtcNow() + MaxRemembered;
        return token.ValidTo < latest.UtcDateTime
            ? new DateTimeOffset(token.ValidTo, TimeSpan.Zero) + ClockSkew
            : latest;
    }

    /// <summary>
    /// The parts of the token, none of which can be trusted yet; null when it is malformed or needs unknown extensions.
    /// </summary>
    private JsonWebToken? Read(string text)
    {
        try
        {
            var token = _handler.ReadJsonWebToken(text);
            // Extensions that must be understood (RFC 7515, 4.1.11): kedge supports none.
            return token.TryGetHeaderValue<object>("crit", out _) || !IsAccepted(token.Typ) ? null : token;
        }
        catch (Exception)
        {
            // Anyone can send any text here, and the exceptions that the library throws for it are undocumented.
            return null;
        }
    }

    /// <summary>
    /// Whether tokens of this type (RFC 7515, 4.1.9) are meant to be presented: ID tokens and access tokens (RFC 9068),
    /// or those that do not say. A provider signs others with the same keys, such as logout tokens (RFC 8725, 3.11).
    /// </summary>
    private static bool IsAccepted(string? type)
    {
        const string prefix = "application/";
        var name = type ?? "";
        name = name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase) ? name[prefix.Length..] : name;
        return name.Length == 0
            || name.Equals("JWT", StringComparison.OrdinalIgnoreCase)
            || name.Equals("at+jwt", StringComparison.OrdinalIgnoreCase);
    }

    private static TokenState Explain(Exception? problem) => problem switch
    {
        SecurityTokenExpiredException => TokenState.NewBadToken("the token has expired"),
        SecurityTokenNotYetValidException => TokenState.NewBadToken("the token is not valid yet"),
        SecurityTokenNoExpirationException => TokenState.NewBadToken("the token has no expiry"),
        SecurityTokenInvalidIssuerException => TokenState.NewBadToken("the token is of another issuer"),
        SecurityTokenInvalidAudienceException => TokenState.NewBadToken("the token is for another audience"),
        SecurityTokenInvalidAlgorithmException => WrongAlgorithm,
        // The candidates were chosen by key id, so "key not found" means that none of them verifies the signature.
        SecurityTokenInvalidSignatureException => WrongSignature,
        _ => TokenState.NewBadToken("the token is not valid"),
    };

    private Permissions PermissionsOf(JsonWebToken token)
    {
        if (requirements.PermsClaim.Length == 0)
        {
            return Permissions.None;
        }
        // Not from the library's claims, which do not distinguish a list with one entry from a text.
        using var payload = JsonDocument.Parse(Base64UrlEncoder.DecodeBytes(token.EncodedPayload));
        if (ClaimPath.Find(payload.RootElement, requirements.PermsClaim) is not { } claim)
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

    private async Task WaitForAsync(Task fetch, CancellationToken cancellation)
    {
        try
        {
            await fetch.WaitAsync(FetchTimeout, time, cancellation);
        }
        catch (TimeoutException)
        {
            // The fetch continues in the background; this request is decided with the keys at hand.
        }
    }
}
