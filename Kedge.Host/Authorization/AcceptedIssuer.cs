using Kedge.Domain.Decoded;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Authorization;

/// <summary>A token issuer in use. Exactly one of its two verifiers is set.</summary>
internal sealed record AcceptedIssuer(
    TokenHeader Header, OidcTokenVerifier? Tokens, StaticTokenVerifier? Static, VerificationCounters Counters)
{
    public string Name => Tokens?.Policy.Issuer.Name ?? Domain.TokenIssuer.DefaultName;

    public string HeaderName => Header == TokenHeader.Authorization
        ? HeaderNames.Authorization
        : HeaderNames.ProxyAuthorization;

    public StringValues ValuesIn(IHeaderDictionary headers) => Header == TokenHeader.Authorization
        ? headers.Authorization
        : headers.ProxyAuthorization;
}
