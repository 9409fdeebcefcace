using Kedge.Domain;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Kedge.Host.Http;

namespace Kedge.Host.Authorization;

/// <summary>
/// Decides for each request whether its caller may use a route: collects what is known of the caller, and asks the core.
/// </summary>
public sealed class Authorizer : IAsyncDisposable
{
    private static readonly TokenState NoVerifier = TokenState.NewBadToken("a token is needed, and this server is not set up to verify any");

    private static readonly RouteDemands NoDemands = RouteDemands.None;

    private readonly ServerDemands demands;
    private readonly ITokenVerifier? tokens;
    private readonly OidcProvider? provider;

    private Authorizer(ServerDemands demands, ITokenVerifier? tokens, OidcProvider? provider) =>
        (this.demands, this.tokens, this.provider) = (demands, tokens, provider);

    /// <summary>What the flags demand of every caller.</summary>
    public static ServerDemands DemandsOf(AuthorizationOptions options) =>
        options.ProviderUrl is not null ? ServerDemands.Permissions(options.RequiredPerm, options.WhitelistPerms)
        : options.BearerToken.Length > 0 ? ServerDemands.Token
        : ServerDemands.None;

    /// <summary>As the flags say. With an OIDC provider, fetching its keys begins.</summary>
    public static Authorizer Create(AuthorizationOptions options, ILoggerFactory loggers)
    {
        if (options.ProviderUrl is { } url)
        {
            // As it was written: a Uri adds a slash to a bare host, and issuers are compared character by character.
            var issuer = url.OriginalString;
            if (url.Scheme == Uri.UriSchemeHttp && !url.IsLoopback)
            {
                loggers.CreateLogger<Authorizer>().LogWarning(
                    "the OIDC provider {Issuer} is asked for its keys in clear text: whoever can change the answer can make tokens", issuer);
            }
            var provider = new OidcProvider(issuer, TimeProvider.System, loggers.CreateLogger<OidcProvider>());
            var requirements = new OidcRequirements(issuer, options.ClientId, options.PermsClaim);
            return new(
                DemandsOf(options),
                new OidcTokenVerifier(requirements, provider, TimeProvider.System),
                provider);
        }
        return new(
            DemandsOf(options), options.BearerToken.Length > 0 ? new StaticTokenVerifier(options.BearerToken) : null, null);
    }

    /// <summary>
    /// Completes synchronously, and allocates nothing, for a caller who may pass and whose token was seen before.
    /// </summary>
    public ValueTask<LocalReply?> AuthorizeAsync(HttpContext context, RouteInfo? route)
    {
        var wanted = route?.Demands ?? NoDemands;
        if (!Access.TokenMatters(demands, wanted))
        {
            return new(Decide(context, wanted, TokenState.NoToken));
        }
        if (tokens is null)
        {
            return new(Decide(context, wanted, NoVerifier));
        }
        if (!BearerHeader.TryRead(context.Request.Headers.ProxyAuthorization, out var token, out var fault))
        {
            return new(Decide(context, wanted, fault is null ? TokenState.NoToken : TokenState.NewBadToken(fault)));
        }
        var pending = tokens.VerifyAsync(token, context.RequestAborted);
        return pending.IsCompletedSuccessfully
            ? new(Decide(context, wanted, pending.Result))
            : DecideLaterAsync(context, wanted, pending);
    }

    public ValueTask DisposeAsync() => provider?.DisposeAsync() ?? ValueTask.CompletedTask;

    private async ValueTask<LocalReply?> DecideLaterAsync(HttpContext context, RouteDemands wanted, ValueTask<TokenState> pending) =>
        Decide(context, wanted, await pending);

    private LocalReply? Decide(HttpContext context, RouteDemands wanted, TokenState token)
    {
        // Chain and purpose were verified by the handshake, or the connection would not be there.
        var names = Access.CertificateMatters(wanted) && context.Connection.ClientCertificate is { } certificate
            ? CertificateNames.Of(certificate)
            : null;
        return Access.Decide(demands, wanted, new(token, names)) switch
        {
            { IsAllowed: true } => null,
            AccessDecision.Unauthenticated { reason: var reason } => LocalReply.Unauthorized(reason),
            AccessDecision.Forbidden { reason: var reason } => LocalReply.Forbidden(reason),
            AccessDecision.Undecidable { reason: var reason } => LocalReply.AuthorizationUnavailable(reason),
            var unknown => throw new InvalidOperationException($"no answer for {unknown}"),
        };
    }
}
