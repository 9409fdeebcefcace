using Kedge.Domain;

namespace Kedge.Host.Forwarding;

/// <summary>Decides whether a caller may use the proxy, or one of its routes.</summary>
public interface IAuthorizer
{
    /// <summary>Null = go on. Asked after the route is known, because a route may have demands of its own, and before anything else happens.</summary>
    /// <param name="route">Null when no route takes the request.</param>
    ValueTask<Answer?> AuthorizeAsync(HttpContext context, RouteInfo? route);
}
