using Kedge.Domain;
using Kedge.Domain.Decoded;

namespace Kedge.Host.Backends;

/// <summary>
/// A snapshot of the endpoints of a backend. Immutable except for the state of the endpoints themselves.
/// </summary>
public sealed class EndpointSet
{
    public static readonly EndpointSet Empty = new([], Balancer.RoundRobin);

    private readonly EndpointPicker _picker;

    /// <param name="areTerminating">Whether the endpoints are terminating, and none is ready.</param>
    public EndpointSet(Endpoint[] endpoints, Balancer balancer, bool areTerminating = false)
    {
        Endpoints = endpoints;
        AreTerminating = areTerminating;
        _picker = new EndpointPicker(balancer, Array.ConvertAll(endpoints, e => e.Resolved.Rank));
    }

    public Endpoint[] Endpoints { get; }

    /// <summary>Whether the endpoints are a last resort: terminating, and in use because none is ready.</summary>
    public bool AreTerminating { get; }

    /// <summary>Picks the endpoint for a request; null when the request has tried all.</summary>
    /// <param name="ticket">From the backend's counter; a request keeps its ticket for all attempts.</param>
    /// <param name="tried">The endpoints that the request has tried; null = none.</param>
    public Endpoint? Pick(ulong ticket, List<Endpoint>? tried)
    {
        if (Endpoints.Length == 1 && tried is null)
        {
            return Endpoints[0];
        }
        var random = _picker.Balancer is Balancer.Random or Balancer.PowerOfTwoChoices
            ? (ulong)System.Random.Shared.NextInt64(long.MinValue, long.MaxValue)
            : 0;
        var index = _picker.Pick(new View(Endpoints, tried, Clock.Now), ticket, random);
        return index < 0 ? null : Endpoints[index];
    }

    /// <summary>Records a failed response of an endpoint, which may eject it within the limits of the policy.</summary>
    /// <returns>Whether this ejected it.</returns>
    public bool RecordFailure(Endpoint endpoint, HealthPolicy policy)
    {
        // Two endpoints that fail at the same time must not both become the last one that may be ejected.
        lock (_picker)
        {
            var now = Clock.Now;
            var ejected = 0;
            foreach (var other in Endpoints)
            {
                if (other != endpoint && other.Health.IsEjected(now))
                {
                    ejected++;
                }
            }
            return endpoint.RecordFailure(policy, now, ejected, Endpoints.Length);
        }
    }

    private readonly struct View(Endpoint[] endpoints, List<Endpoint>? tried, long now) : IEndpointView
    {
        public bool IsAvailable(int index) => endpoints[index].Health.IsAvailable(now);

        public int InFlight(int index) => endpoints[index].InFlight;

        public bool IsTried(int index) => tried is not null && tried.Contains(endpoints[index]);
    }
}
