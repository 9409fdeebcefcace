using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Backends;
using Kedge.Host.Backends.Connections;

namespace Kedge.Host.Routing;

/// <summary>Where a request is forwarded to: a backend, or the target of an ad-hoc rule.</summary>
/// <param name="Name">The name of the backend or target, for messages.</param>
/// <param name="Ticket">Decides which endpoint the balancer picks; the same for all attempts.</param>
/// <param name="Backend">
/// Not null for a backend. The request has entered it, so the holder of the destination must call <see cref="Leave"/>
/// when the request ends.
/// </param>
internal readonly record struct Destination(
    UpstreamClient Client, EndpointSet Endpoints, HealthPolicy Policy, string Name, ulong Ticket, Backend? Backend)
{
    /// <summary>What the route changes about the request and its response; null = nothing.</summary>
    public Filters? Filters { get; init; }

    /// <summary>How long the request may take, and when it is sent again; null = no limit, and no retries.</summary>
    public Policies? Policies { get; init; }

    /// <summary>The path that the backend sees; null = the caller's path.</summary>
    public string? Path { get; init; }

    /// <summary>What the endpoint receives of callers' tokens; null = nothing.</summary>
    public ForwardedClaims? Claims { get; init; }

    /// <summary>The copies of the request; null = none.</summary>
    public RequestMirrors? Mirrors { get; init; }

    /// <summary>The request has ended.</summary>
    public void Leave() => Backend?.Leave();
}
