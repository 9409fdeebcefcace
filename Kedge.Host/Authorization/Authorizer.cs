using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Net;
using Kedge.Domain;
using Kedge.Domain.Decoded;
using Kedge.Host.Certificates;
using Kedge.Host.Flags;
using Kedge.Host.Http;
using TokenIssuer = Kedge.Domain.TokenIssuer;

namespace Kedge.Host.Authorization;

/// <summary>
/// Decides for each request whether the caller may use a route: collects what kedge knows about the caller, and lets
/// the core decide. Keeps the keys of the token issuers.
/// </summary>
public sealed class Authorizer : IAsyncDisposable
{
    private const string InvalidToken = "invalid_token";

    private static readonly TimeSpan DemandInterval = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan DefaultDemandInterval = TimeSpan.FromSeconds(10);

    private static readonly RouteDemands NoDemands = RouteDemands.None;

    private readonly ServerDemands _demands;
    private readonly TokenIssuer? _default;
    private readonly StaticTokenVerifier? _static;
    private readonly OidcProvider? _defaultKeys;
    private readonly ILogger<OidcProvider> _keyLog;
    private readonly ConcurrentDictionary<string, VerificationCounters> _counters = new();
    private readonly Dictionary<(string Issuer, string KeySet), OidcProvider> _keys = [];
    private readonly Lock _applying = new();
    private readonly HashSet<string> _reported = [];
    private ActiveIssuers _active;

    /// <summary>Creates it as the flags configure it. With an OIDC provider, starts to fetch the keys.</summary>
    public Authorizer(AuthorizationOptions options, ILoggerFactory loggers)
    {
        _keyLog = loggers.CreateLogger<OidcProvider>();
        _demands = DemandsOf(options);
        _default = IssuerOf(options);
        if (_default is not null)
        {
            if (options.ProviderUrl is { IsLoopback: false } url && url.Scheme == Uri.UriSchemeHttp)
            {
                loggers.CreateLogger<Authorizer>().LogWarning(
                    "the keys of OIDC provider {Issuer} are fetched in clear text: anyone who can alter the response "
                    + "can forge tokens",
                    _default.Issuer);
            }
            _defaultKeys = new(_default.Issuer, "", DefaultDemandInterval, TimeProvider.System, _keyLog);
        }
        else if (options.BearerToken.Length > 0)
        {
            _static = new(options.BearerToken);
        }
        _active = Apply(Configuration.Empty);
    }

    /// <summary>The counters of verification results, one object per issuer.</summary>
    internal IEnumerable<VerificationCounters> Counters => _counters.Values;

    /// <summary>The issuers of the active configuration.</summary>
    internal IEnumerable<AcceptedIssuer> Issuers => Volatile.Read(ref _active).All;

    /// <summary>What the flags demand of every caller.</summary>
    public static ServerDemands DemandsOf(AuthorizationOptions options) =>
        options.ProviderUrl is not null ? ServerDemands.Permissions(options.RequiredPerm, options.WhitelistPerms)
        : options.BearerToken.Length > 0 ? ServerDemands.Token
        : ServerDemands.None;

    /// <summary>The issuer that the flags set up; null = none.</summary>
    public static TokenIssuer? IssuerOf(AuthorizationOptions options) =>
        // The text as given: a Uri adds a slash to a bare host, and issuers are compared character by character.
        options.ProviderUrl is { OriginalString: var issuer }
            ? TokenIssuer.OfFlags(issuer, options.ClientId, options.PermsClaim)
            : null;

    /// <summary>
    /// Activates the issuers of a configuration. Issuers that do not change keep their keys and the tokens already
    /// accepted. Starts to fetch the keys of the others.
    /// </summary>
    public ActiveIssuers Apply(Configuration configuration)
    {
        lock (_applying)
        {
            var demands = Protocol.All
                .SelectMany(protocol => configuration.Routes[protocol].Concat(configuration.AdhocRules[protocol]))
                .Select(rule => rule.Demands)
                .ToList();
            var claims = demands.SelectMany(rule => rule.Claims).ToHashSet();
            var issuers = configuration.Director.TokenIssuers
                .Select(issuer => Activate(issuer, claims, KeysOf(issuer)))
                .ToList();
            if (Default(claims) is { } ofFlags)
            {
                issuers.Add(ofFlags);
            }
            var next = new ActiveIssuers(
                issuers.ToFrozenDictionary(issuer => issuer.Name),
                demands,
                CountersOf(TokenIssuer.UnknownName),
                ForwardedClaims.Of(configuration));
            Report(configuration);
            Retire(configuration);
            Volatile.Write(ref _active, next);
            return next;
        }
    }

    /// <summary>
    /// Decides whether the caller may use a route. Call it once the route is known, because the route may add demands,
    /// and before anything else happens. Completes synchronously, without an allocation, for an allowed caller whose
    /// token was accepted before.
    /// </summary>
    /// <param name="context">The request.</param>
    /// <param name="route">A route or an ad-hoc rule; null when none matches the request.</param>
    /// <param name="issuers">The issuers of the route's configuration; null = the active issuers.</param>
    /// <param name="address">The caller's address; null when the route does not need it.</param>
    /// <returns>Null = the caller may pass.</returns>
    public ValueTask<LocalReply?> AuthorizeAsync(
        HttpContext context, RouteInfo? route, ActiveIssuers? issuers = null, IPAddress? address = null)
    {
        var wanted = route?.Demands ?? NoDemands;
        issuers ??= Volatile.Read(ref _active);
        if (!Access.TokenMatters(_demands, wanted))
        {
            return new(Decide(context, route, issuers, address, TokenState.NoToken));
        }
        var pending = issuers.VerifyAsync(context.Request.Headers, wanted, context.RequestAborted);
        return pending.IsCompletedSuccessfully
            ? new(Decide(context, route, issuers, address, pending.Result))
            : DecideLaterAsync(context, route, issuers, address, pending);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var keys in _keys.Values.Append(_defaultKeys).OfType<OidcProvider>())
        {
            await keys.DisposeAsync();
        }
    }

    private async ValueTask<LocalReply?> DecideLaterAsync(
        HttpContext context,
        RouteInfo? route,
        ActiveIssuers issuers,
        IPAddress? address,
        ValueTask<TokenState> pending) =>
        Decide(context, route, issuers, address, await pending);

    private LocalReply? Decide(
        HttpContext context, RouteInfo? route, ActiveIssuers issuers, IPAddress? address, TokenState token)
    {
        var wanted = route?.Demands ?? NoDemands;
        if (token is TokenState.ValidToken { token: var valid }
            && (route is { NamesToken: true } || issuers.Forwarded?.Concerns(valid) == true))
        {
            RequestToken.Keep(context, valid);
        }
        // The handshake has verified the chain and the purpose, or the connection would not exist.
        var names = Access.CertificateMatters(wanted) && context.Connection.ClientCertificate is { } certificate
            ? CertificateNames.Of(certificate)
            : null;
        return Access.Decide(_demands, wanted, new(token, names, address)) switch
        {
            { IsAllowed: true } => null,
            AccessDecision.Unauthenticated { reason: var reason } => LocalReply.Unauthorized(
                reason, wanted.NamesIssuers && !token.IsNoToken ? InvalidToken : ""),
            AccessDecision.Forbidden { reason: var reason } => LocalReply.Forbidden(reason),
            AccessDecision.Undecidable { reason: var reason } => LocalReply.AuthorizationUnavailable(reason),
            var unknown => throw new InvalidOperationException($"no answer for {unknown}"),
        };
    }

    private AcceptedIssuer? Default(IEnumerable<string> claims) =>
        _default is not null && _defaultKeys is not null ? Activate(_default, claims, _defaultKeys)
        : _static is not null ? new(
            TokenHeader.ProxyAuthorization, Tokens: null, _static, CountersOf(TokenIssuer.DefaultName))
        : null;

    private AcceptedIssuer Activate(TokenIssuer issuer, IEnumerable<string> claims, OidcProvider keys)
    {
        var policy = new TokenPolicy(issuer, claims.Concat(issuer.ForwardClaims.Values));
        var before = _active?.All.FirstOrDefault(active => active.Tokens is { } tokens
            && tokens.Provider == keys
            && tokens.Policy.IsSameAs(policy));
        return new(
            issuer.Header,
            before?.Tokens ?? new OidcTokenVerifier(policy, keys, TimeProvider.System),
            Static: null,
            CountersOf(issuer.Name));
    }

    /// <summary>Logs, once, each issuer that the flags set up as well.</summary>
    private void Report(Configuration configuration)
    {
        foreach (var issuer in configuration.Director.TokenIssuers)
        {
            if (issuer.Issuer == _default?.Issuer && _reported.Add(issuer.Name))
            {
                _keyLog.LogWarning(
                    "the token issuer {Name} is the one that the flags set up as 'default': a route that names both "
                    + "takes a token as one of either",
                    issuer.Name);
            }
        }
    }

    private OidcProvider KeysOf(TokenIssuer issuer)
    {
        if (!_keys.TryGetValue((issuer.Issuer, issuer.JwksUri), out var keys))
        {
            keys = new(issuer.Issuer, issuer.JwksUri, DemandInterval, TimeProvider.System, _keyLog);
            _keys.Add((issuer.Issuer, issuer.JwksUri), keys);
        }
        return keys;
    }

    /// <summary>Stops fetching keys that the configuration no longer needs.</summary>
    private void Retire(Configuration configuration)
    {
        var used = configuration.Director.TokenIssuers.Select(issuer => (issuer.Issuer, issuer.JwksUri)).ToHashSet();
        foreach (var unused in _keys.Keys.Except(used).ToList())
        {
            _keys.Remove(unused, out var keys);
            // In the background, because it may have to cancel a fetch.
            _ = keys?.DisposeAsync().AsTask();
        }
    }

    private VerificationCounters CountersOf(string issuer) =>
        _counters.GetOrAdd(issuer, static name => new VerificationCounters(name));
}
