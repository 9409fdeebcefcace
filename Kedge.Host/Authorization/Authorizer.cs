using System.Net;
using Kedge.Domain;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Kedge.Host.Http;

namespace Kedge.Host.Authorization;

/// <summary>
/// Decides for each request whether its caller may use a route: collects what is known about the caller, and lets the
/// core decide.
/// </summary>
public sealed class Authorizer : IAsyncDisposable
{
    private static readonly TokenState NoVerifier =
        TokenState.NewBadToken("a token is needed, and this server is not set up to verify any");

    /// <summary>The name of the provider that the flags set up.</summary>
    private const string DefaultIssuer = "default";

    private static readonly RouteDemands NoDemands = RouteDemands.None;

    private readonly ServerDemands _demands;
    private readonly ITokenVerifier? _tokens;
    private readonly OidcProvider? _provider;

    private Authorizer(ServerDemands demands, ITokenVerifier? tokens, OidcProvider? provider) =>
        (_demands, _tokens, _provider) = (demands, tokens, provider);

    /// <summary>What the flags demand of every caller.</summary>
    public static ServerDemands DemandsOf(AuthorizationOptions options) =>
        options.ProviderUrl is not null ? ServerDemands.Permissions(options.RequiredPerm, options.WhitelistPerms)
        : options.BearerToken.Length > 0 ? ServerDemands.Token
        : ServerDemands.None;

    /// <summary>As the flags configure it. With an OIDC provider, this starts to fetch its keys.</summary>
    public static Authorizer Create(AuthorizationOptions options, ILoggerFactory loggers)
    {
        if (options.ProviderUrl is { } url)
        {
            // The text as given: a Uri adds a slash to a bare host, and issuers are compared character by character.
            var issuer = url.OriginalString;
            if (url.Scheme == Uri.UriSchemeHttp && !url.IsLoopback)
            {
                loggers.CreateLogger<Authorizer>().LogWarning(
                    "the keys of OIDC provider {Issuer} are fetched in clear text: anyone who can alter the response "
                    + "can forge tokens",
                    issuer);
            }
            var provider = new OidcProvider(issuer, TimeProvider.System, loggers.CreateLogger<OidcProvider>());
            var requirements = new OidcRequirements(issuer, options.ClientId, options.PermsClaim);
            return new(
                DemandsOf(options),
                new OidcTokenVerifier(requirements, provider, TimeProvider.System),
                provider);
        }
        var verifier = options.BearerToken.Length > 0 ? new StaticTokenVerifier(options.BearerToken) : null;
        return new(DemandsOf(options), verifier, provider: null);
    }

    /// <summary>
    /// Decides whether the caller may use a route. Called once the route is known, because it may have demands of its
    /// own, and before anything else happens. Completes synchronously, without an allocation, for a caller who may pass
    /// and whose token was seen before.
    /// </summary>
    /// <param name="context">The request.</param>
    /// <param name="route">A route or an ad-hoc rule; null when none takes the request.</param>
    /// <param name="address">Of the caller; null when the route does not ask for it.</param>
    /// <returns>Null = the caller may pass.</returns>
    public ValueTask<LocalReply?> AuthorizeAsync(HttpContext context, RouteInfo? route, IPAddress? address = null)
    {
        var wanted = route?.Demands ?? NoDemands;
        if (!Access.TokenMatters(_demands, wanted))
        {
            return new(Decide(context, route, address, TokenState.NoToken));
        }
        if (_tokens is null)
        {
            return new(Decide(context, route, address, NoVerifier));
        }
        if (!BearerHeader.TryRead(context.Request.Headers.ProxyAuthorization, out var token, out var fault))
        {
            return new(Decide(
                context, route, address, fault is null ? TokenState.NoToken : TokenState.NewBadToken(fault)));
        }
        var pending = _tokens.VerifyAsync(token, context.RequestAborted);
        return pending.IsCompletedSuccessfully
            ? new(Decide(context, route, address, pending.Result))
            : DecideLaterAsync(context, route, address, pending);
    }

    public ValueTask DisposeAsync() => _provider?.DisposeAsync() ?? ValueTask.CompletedTask;

    private async ValueTask<LocalReply?> DecideLaterAsync(
        HttpContext context, RouteInfo? route, IPAddress? address, ValueTask<TokenState> pending) =>
        Decide(context, route, address, await pending);

    private LocalReply? Decide(HttpContext context, RouteInfo? route, IPAddress? address, TokenState token)
    {
        var wanted = route?.Demands ?? NoDemands;
        if (route is { NamesToken: true } && token is TokenState.ValidToken valid)
        {
            TokenSubject.Keep(context, valid.subject, DefaultIssuer);
        }
        // The handshake has verified the chain and the purpose, or the connection would not exist.
        var names = Access.CertificateMatters(wanted) && context.Connection.ClientCertificate is { } certificate
            ? CertificateNames.Of(certificate)
            : null;
        return Access.Decide(_demands, wanted, new(token, names, address)) switch
        {
            { IsAllowed: true } => null,
            AccessDecision.Unauthenticated { reason: var reason } => LocalReply.Unauthorized(reason),
            AccessDecision.Forbidden { reason: var reason } => LocalReply.Forbidden(reason),
            AccessDecision.Undecidable { reason: var reason } => LocalReply.AuthorizationUnavailable(reason),
            var unknown => throw new InvalidOperationException($"no answer for {unknown}"),
        };
    }
}
