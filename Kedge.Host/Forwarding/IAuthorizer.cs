using Kedge.Domain;
using Kedge.Host.Http;

namespace Kedge.Host.Forwarding;

/// <summary>Decides whether a caller may use the proxy, or one of its routes or ad-hoc rules.</summary>
public interface IAuthorizer
{
    /// <summary>Null = go on. Asked after the route is known, because it may have demands of its own, and before anything else happens.</summary>
    /// <param name="route">A route or an ad-hoc rule; null when none takes the request.</param>
    ValueTask<LocalReply?> AuthorizeAsync(HttpContext context, RouteInfo? route);
}
