using Kedge.Domain;
using Kedge.Host.Flags;

namespace Kedge.Host.Authorization;

/// <summary>
/// Decides for each request whether its caller may use a route: collects what is known of the caller, and asks the core.
/// </summary>
public sealed class Authorizer : IAsyncDisposable
{
    private static readonly TokenState NoVerifier = TokenState.NewBadToken("a token is needed, and this server is not set up to verify any");

    private readonly ServerDemands demands;
    private readonly ITokenVerifier? tokens;
    private readonly OidcProvider? provider;

    private Authorizer(ServerDemands demands, ITokenVerifier? tokens, OidcProvider? provider) =>
        (this.demands, this.tokens, this.provider) = (demands, tokens, provider);

    /// <summary>What the flags demand of every caller.</summary>
    public ServerDemands Demands => demands;

    /// <summary>As the flags say. With an OIDC provider, fetching its keys begins.</summary>
    public static Authorizer Create(AuthorizationOptions options, ILoggerFactory loggers)
    {
        if (options.ProviderUrl is { } url)
        {
            // As it was written: a Uri adds a slash to a bare host, and issuers are compared character by character.
            var issuer = url.OriginalString;
            var provider = new OidcProvider(issuer, TimeProvider.System, loggers.CreateLogger<OidcProvider>());
            var requirements = new OidcRequirements(issuer, options.ClientId, options.PermsClaim);
            return new(
                ServerDemands.Permissions(options.RequiredPerm, options.WhitelistPerms),
                new OidcTokenVerifier(requirements, provider, TimeProvider.System),
                provider);
        }
        return options.BearerToken.Length > 0
            ? new(ServerDemands.Token, new StaticTokenVerifier(options.BearerToken), null)
            : new(ServerDemands.None, null, null);
    }

    /// <summary>
    /// Whether the caller may use the route. Completes synchronously, and allocates nothing, for a caller who may and whose
    /// token was seen before.
    /// </summary>
    public ValueTask<AccessDecision> AuthorizeAsync(HttpContext context, RouteDemands route)
    {
        if (!Access.TokenMatters(demands, route))
        {
            return new(Decide(context, route, TokenState.NoToken));
        }
        if (tokens is null)
        {
            return new(Decide(context, route, NoVerifier));
        }
        if (!BearerHeader.TryRead(context.Request.Headers.ProxyAuthorization, out var token, out var fault))
        {
            return new(Decide(context, route, fault is null ? TokenState.NoToken : TokenState.NewBadToken(fault)));
        }
        var pending = tokens.VerifyAsync(token, context.RequestAborted);
        return pending.IsCompletedSuccessfully
            ? new(Decide(context, route, pending.Result))
            : DecideLaterAsync(context, route, pending);
    }

    public ValueTask DisposeAsync() => provider?.DisposeAsync() ?? ValueTask.CompletedTask;

    private async ValueTask<AccessDecision> DecideLaterAsync(HttpContext context, RouteDemands route, ValueTask<TokenState> pending) =>
        Decide(context, route, await pending);

    private AccessDecision Decide(HttpContext context, RouteDemands route, TokenState token)
    {
        // Chain and purpose were verified by the handshake, or the connection would not be there.
        var names = context.Connection.ClientCertificate is { } certificate ? CertificateNames.Of(certificate) : null;
        return Access.Decide(demands, route, new(token, names));
    }
}
