using System.Text.Json;
using Kedge.Domain;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Kedge.Host.Authorization;

/// <summary>Verifies signed tokens (RFC 7519) of one issuer.</summary>
public sealed class OidcTokenVerifier(TokenPolicy policy, OidcProvider provider, TimeProvider time)
{
    private static readonly TimeSpan MaxRemembered = TimeSpan.FromHours(1);

    // How long a request waits for a fetch of the keys.
    private static readonly TimeSpan FetchTimeout = TimeSpan.FromSeconds(3);

    public static readonly TokenState Malformed = TokenState.NewBadToken("the token is malformed");
    private static readonly TokenState WrongAlgorithm =
        TokenState.NewBadToken("the token's signature algorithm is not accepted");
    private static readonly TokenState UnknownKey = TokenState.NewBadToken("the token is signed with an unknown key");
    private static readonly TokenState WrongSignature = TokenState.NewBadToken("the token's signature is wrong");
    private static readonly TokenState NoKeys =
        TokenState.NewUnverifiableToken("the token cannot be verified: the OIDC provider is unavailable");

    public static readonly TokenState WrongIssuer = TokenState.NewBadToken("the token is of another issuer");

    private static readonly JsonWebTokenHandler Handler = new()
    {
        MaximumTokenSizeInBytes = BearerHeader.MaxTokenLength,
    };

    // Asymmetric algorithms only. The library checks that the key's type matches.
    private readonly string[] _algorithms = [.. policy.Issuer.Algorithms];

    private readonly string[] _audiences = [.. policy.Issuer.Audiences];

    private readonly KnownTokens _known = new(time);

    public TokenPolicy Policy => policy;

    public OidcProvider Provider => provider;

    /// <summary>The state of a token accepted before with the current keys; null = it was not.</summary>
    public TokenState? FindKnown(TokenHash hash) => provider.Keys is { } keys ? _known.Find(keys, hash) : null;

    /// <summary>
    /// The parts of a token, none of which can be trusted yet; null when it is malformed, needs unknown extensions, or
    /// its type is not accepted.
    /// </summary>
    public static JsonWebToken? Read(ReadOnlyMemory<char> text)
    {
        // A signed token has two dots, an encrypted one four, and arbitrary text may have thousands.
        if (text.Span.Count('.') != 2)
        {
            return null;
        }
        try
        {
            var token = Handler.ReadJsonWebToken(text.ToString());
            // Extensions that must be understood (RFC 7515, 4.1.11): kedge supports none.
            return token.TryGetHeaderValue<object>("crit", out _) || !IsAccepted(token.Typ) ? null : token;
        }
        catch (Exception)
        {
            // Anyone can send any text here, and the exceptions that the library throws for it are undocumented.
            return null;
        }
    }

    /// <summary>Verifies a token. Throws only on cancellation.</summary>
    public async ValueTask<TokenState> VerifyAsync(JsonWebToken token, TokenHash hash, CancellationToken cancellation)
    {
        if (!_algorithms.Contains(token.Alg))
        {
            return WrongAlgorithm;
        }
        // Before a key is looked up: the same key ID may be in the key sets of several issuers.
        if (token.Issuer != policy.Issuer.Issuer)
        {
            return WrongIssuer;
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
        // A token without a key ID whose signature no key verifies may also have been signed with a new key.
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
        var result = await Handler.ValidateTokenAsync(token, new TokenValidationParameters
        {
            ValidIssuer = policy.Issuer.Issuer,
            ValidAudiences = _audiences,
            ValidAlgorithms = _algorithms,
            IssuerSigningKeys = candidates,
            TryAllIssuerSigningKeys = true,
            ValidateIssuerSigningKey = true,
            RequireExpirationTime = true,
            RequireSignedTokens = true,
            ClockSkew = policy.Issuer.ClockSkew,
        });
        if (!result.IsValid)
        {
            return Explain(result.Exception);
        }
        // Not from the library's claims, which do not distinguish a list with one entry from a string.
        using var payload = JsonDocument.Parse(Base64UrlEncoder.DecodeBytes(token.EncodedPayload));
        var state = TokenState.NewValidToken(TokenClaims.Read(payload.RootElement, policy));
        _known.Add(keys, hash, state, RememberedUntil(token));
        return state;
    }

    /// <summary>The token's expiry, but at most an hour from now: then kedge verifies it again.</summary>
    private DateTimeOffset RememberedUntil(JsonWebToken token)
    {
        var latest = time.GetUtcNow() + MaxRemembered;
        return token.ValidTo < latest.UtcDateTime
            ? new DateTimeOffset(token.ValidTo, TimeSpan.Zero) + policy.Issuer.ClockSkew
            : latest;
    }

    /// <summary>
    /// Whether tokens of this type (RFC 7515, 4.1.9) are meant to be presented: ID tokens, access tokens (RFC 9068),
    /// and tokens without a type. A provider signs other types with the same keys, such as logout tokens
    /// (RFC 8725, 3.11).
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
        SecurityTokenInvalidIssuerException => WrongIssuer,
        SecurityTokenInvalidAudienceException => TokenState.NewBadToken("the token is for another audience"),
        SecurityTokenInvalidAlgorithmException => WrongAlgorithm,
        // The candidates were chosen by key ID, so "key not found" means that none of them verifies the signature.
        SecurityTokenInvalidSignatureException => WrongSignature,
        _ => TokenState.NewBadToken("the token is not valid"),
    };

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
