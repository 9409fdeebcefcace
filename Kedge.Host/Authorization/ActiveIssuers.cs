using System.Collections.Frozen;
using Kedge.Domain;
using Kedge.Domain.Decoded;
using Microsoft.IdentityModel.JsonWebTokens;

namespace Kedge.Host.Authorization;

/// <summary>
/// The issuers whose tokens a configuration accepts, including the one that the flags set up. Finds the token of a
/// request and the one issuer that may have issued it.
/// </summary>
public sealed class ActiveIssuers
{
    private static readonly TokenState NoVerifier =
        TokenState.NewBadToken("a token is needed, and this server is not set up to verify any");

    private readonly FrozenDictionary<string, AcceptedIssuer> _byName;
    private readonly FrozenDictionary<RouteDemands, AcceptedIssuer[]> _byDemands;
    private readonly AcceptedIssuer[] _default;
    private readonly VerificationCounters _unknown;

    /// <param name="issuers">All issuers by their names.</param>
    /// <param name="demands">The demands of all rules.</param>
    /// <param name="unknown">Counts tokens that come from none of the issuers that a route accepts.</param>
    /// <param name="forwarded">The parts of tokens that backends receive; null = none.</param>
    internal ActiveIssuers(
        FrozenDictionary<string, AcceptedIssuer> issuers,
        IEnumerable<RouteDemands> demands,
        VerificationCounters unknown,
        ForwardedClaims? forwarded)
    {
        _byName = issuers;
        _unknown = unknown;
        _default = Of([Domain.TokenIssuer.DefaultName]);
        _byDemands = demands.Where(static demands => demands.NamesIssuers).Distinct().ToFrozenDictionary(
            static demands => demands,
            demands => Of(demands.Issuers));
        Forwarded = forwarded;
    }

    /// <summary>The parts of tokens that backends receive; null = none.</summary>
    internal ForwardedClaims? Forwarded { get; }

    internal IEnumerable<AcceptedIssuer> All => _byName.Values;

    /// <summary>
    /// Verifies the token of a request. Completes synchronously, without an allocation, for a token accepted before.
    /// Throws only on cancellation.
    /// </summary>
    /// <param name="headers">The headers of the request.</param>
    /// <param name="wanted">The demands of the route, which may name issuers.</param>
    /// <param name="cancellation">Canceled when the caller leaves.</param>
    public ValueTask<TokenState> VerifyAsync(
        IHeaderDictionary headers, RouteDemands wanted, CancellationToken cancellation)
    {
        var accepted = wanted.NamesIssuers ? _byDemands.GetValueOrDefault(wanted, []) : _default;
        if (accepted.Length == 0)
        {
            return new(NoVerifier);
        }
        if (!TryRead(headers, accepted, out var token, out var header, out var fault))
        {
            return new(fault is null ? TokenState.NoToken : CounterOf(accepted).Count(TokenState.NewBadToken(fault)));
        }
        var hash = TokenHash.Of(token.Span);
        foreach (var issuer in accepted)
        {
            if (issuer.Header == header && issuer.Tokens?.FindKnown(hash) is { } known)
            {
                return new(issuer.Counters.Count(known));
            }
            if (issuer.Header == header && issuer.Static is { } only)
            {
                var state = only.Verify(token.Span);
                if (state.IsStaticToken || accepted.Length == 1)
                {
                    return new(issuer.Counters.Count(state));
                }
            }
        }
        return VerifyNewAsync(accepted, header, token, hash, cancellation);
    }

    /// <summary>Finds the first token in the issuers' headers, in the order in which the route names them.</summary>
    private static bool TryRead(
        IHeaderDictionary headers,
        AcceptedIssuer[] accepted,
        out ReadOnlyMemory<char> token,
        out TokenHeader header,
        out string? fault)
    {
        (token, header, fault) = (default, default, null);
        foreach (var issuer in accepted)
        {
            header = issuer.Header;
            if (BearerHeader.TryRead(issuer.HeaderName, issuer.ValuesIn(headers), out token, out var problem))
            {
                return true;
            }
            fault ??= problem;
        }
        return false;
    }

    private async ValueTask<TokenState> VerifyNewAsync(
        AcceptedIssuer[] accepted,
        TokenHeader header,
        ReadOnlyMemory<char> text,
        TokenHash hash,
        CancellationToken cancellation)
    {
        if (OidcTokenVerifier.Read(text) is not { } token)
        {
            return CounterOf(accepted).Count(OidcTokenVerifier.Malformed);
        }
        return IssuerOf(accepted, header, token) is { Tokens: { } tokens } issuer
            ? issuer.Counters.Count(await tokens.VerifyAsync(token, hash, cancellation))
            : _unknown.Count(OidcTokenVerifier.WrongIssuer);
    }

    /// <summary>The one issuer that may have issued the token: the name in the token decides, not its key.</summary>
    private static AcceptedIssuer? IssuerOf(AcceptedIssuer[] accepted, TokenHeader header, JsonWebToken token) =>
        Array.Find(
            accepted,
            issuer => issuer.Header == header && issuer.Tokens?.Policy.Issuer.Issuer == token.Issuer);

    /// <summary>The counters for tokens that name no issuer.</summary>
    private VerificationCounters CounterOf(AcceptedIssuer[] accepted) =>
        accepted is [var only] ? only.Counters : _unknown;

    private AcceptedIssuer[] Of(ReadOnlySpan<string> names)
    {
        var found = new List<AcceptedIssuer>(names.Length);
        foreach (var name in names)
        {
            if (_byName.TryGetValue(name, out var issuer))
            {
                found.Add(issuer);
            }
        }
        return [.. found];
    }
}
