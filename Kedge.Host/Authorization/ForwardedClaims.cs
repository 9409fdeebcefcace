using System.Collections.Frozen;
using Kedge.Domain;
using Kedge.Domain.Decoded;
using Kedge.Wire.Upstream;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Authorization;

/// <summary>
/// Decides which parts of a caller's token a backend receives: adds headers whose values are claims, and drops tokens
/// that are meant for kedge alone.
/// </summary>
internal sealed class ForwardedClaims
{
    private readonly FrozenSet<string> _headers;
    private readonly FrozenDictionary<string, Domain.TokenIssuer> _issuers;

    private ForwardedClaims(IReadOnlyList<Domain.TokenIssuer> issuers)
    {
        _headers = issuers.SelectMany(issuer => issuer.ForwardClaims.Keys).Select(Plain).ToFrozenSet(
            StringComparer.OrdinalIgnoreCase);
        _issuers = issuers.ToFrozenDictionary(issuer => issuer.Name);
    }

    /// <summary>Null = there is nothing to do for any request.</summary>
    public static ForwardedClaims? Of(Configuration configuration)
    {
        var issuers = configuration.Director.TokenIssuers;
        return issuers.IsEmpty ? null : new([.. issuers]);
    }

    /// <summary>Whether the token's issuer requires a change to the forwarded request.</summary>
    public bool Concerns(VerifiedToken token) =>
        _issuers.TryGetValue(token.Issuer, out var issuer)
        && (!issuer.ForwardClaims.IsEmpty || IsTokenRemoved(issuer));

    /// <summary>
    /// Whether to drop a header or trailer of the caller: one that only kedge may set, whatever the route, or the token
    /// itself.
    /// </summary>
    /// <param name="name">The name of the header.</param>
    /// <param name="token">The verified token of the request; null = none.</param>
    public bool Drops(string name, VerifiedToken? token) =>
        _headers.Contains(Plain(name))
        || (token is not null
            && _issuers.TryGetValue(token.Issuer, out var issuer)
            && IsTokenRemoved(issuer)
            && name.Equals(HeaderNames.Authorization, StringComparison.OrdinalIgnoreCase));

    /// <summary>Adds the headers whose values are claims of the token.</summary>
    public void AddTo(FieldList headers, VerifiedToken token)
    {
        if (!_issuers.TryGetValue(token.Issuer, out var issuer))
        {
            return;
        }
        foreach (var (header, claim) in issuer.ForwardClaims)
        {
            var value = string.Join(",", token.Claim(claim)).Trim(' ');
            if (HeaderValue.IsPrintable(value))
            {
                headers.Add(header, value);
            }
        }
    }

    private static bool IsTokenRemoved(Domain.TokenIssuer issuer) =>
        issuer is { Header: TokenHeader.Authorization, IsForwarded: false };

    /// <summary>CGI gateways and the like map both spellings to the same name.</summary>
    private static string Plain(string name) => name.Contains('_') ? name.Replace('_', '-') : name;
}
