using Kedge.Domain;
using Kedge.Domain.Decoded;

namespace Kedge.Host.Backends;

/// <summary>The endpoints among which requests are spread, at one time. Immutable but for the endpoints' own state.</summary>
public sealed class EndpointSet
{
    public static readonly EndpointSet Empty = new([], Balancer.RoundRobin);

    private readonly EndpointPicker _picker;

    public EndpointSet(Endpoint[] endpoints, Balancer balancer)
    {
        Endpoints = endpoints;
        _picker = new EndpointPicker(balancer, Array.ConvertAll(endpoints, e => e.Resolved.Rank));
    }

    public Endpoint[] Endpoints { get; }

    /// <summary>The endpoint for a request; null when it has tried all.</summary>
    /// <param name="ticket">From the backend's counter; a request keeps its ticket for every try.</param>
    /// <param name="tried">Endpoints where the request has been; null when none.</param>
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

    /// <summary>Notes a failed answer of one of the endpoints; it may eject that one, within the policy's bounds.</summary>
    /// <returns>Whether it did.</returns>
    public bool AnswerFailed(Endpoint endpoint, HealthPolicy policy)
    {
        // Two that fail at one time must not both take the last place among the ejected.
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
            return endpoint.AnswerFailed(policy, now, ejected, Endpoints.Length);
        }
    }

    private readonly struct View(Endpoint[] endpoints, List<Endpoint>? tried, long now) : IEndpointView
    {
        public bool IsAvailable(int index) => endpoints[index].Health.IsAvailable(now);

        public int InFlight(int index) => endpoints[index].InFlight;

        public bool IsTried(int index) => tried is not null && tried.Contains(endpoints[index]);
    }
}

/// <summary>The monotonic clock of endpoint health.</summary>
internal static class Clock
{
    /// <summary>Ticks of <see cref="TimeSpan"/> since some start; advances every few milliseconds.</summary>
    public static long Now => Environment.TickCount64 * TimeSpan.TicksPerMillisecond;
}
