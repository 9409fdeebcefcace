using Kedge.Domain;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Backends;

/// <summary>
/// A live endpoint: its address, its requests in flight and its health. It exists as long as the resolver of its
/// backend reports it, so its state survives changes of the other endpoints.
/// </summary>
public sealed class Endpoint
{
    private EndpointHealth _health = EndpointHealth.Initial!;
    private int _inFlight;
    private long _requests;
    private long _failures;

    public Endpoint(ResolvedEndpoint resolved)
    {
        Resolved = resolved;
        Name = resolved.Address.ToString();
    }

    public ResolvedEndpoint Resolved { get; }

    /// <summary>Address and port, for logs and pages.</summary>
    public string Name { get; }

    public EndpointHealth Health => Volatile.Read(ref _health);

    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>The number of requests that were sent to it.</summary>
    public long Requests => Volatile.Read(ref _requests);

    /// <summary>The number of connection attempts that failed.</summary>
    public long Failures => Volatile.Read(ref _failures);

    public void RequestStarted()
    {
        Interlocked.Increment(ref _inFlight);
        Interlocked.Increment(ref _requests);
    }

    public void RequestEnded() => Interlocked.Decrement(ref _inFlight);

    /// <summary>A connection attempt failed.</summary>
    public void ConnectFailed(HealthPolicy policy, long now)
    {
        Interlocked.Increment(ref _failures);
        Update((policy, now), static (health, args) => health.ConnectFailed(args.policy, args.now)!);
    }

    /// <summary>It responded successfully.</summary>
    public void Succeeded() => Update(0, static (health, _) => health.Succeeded()!);

    /// <summary>
    /// It responded, but the response may still turn out to be a failure: only the connection is known to work.
    /// </summary>
    public void Connected() => Update(0, static (health, _) => health.Connected()!);

    /// <summary>
    /// A response failed or broke off. Call it through <see cref="EndpointSet.RecordFailure"/>.
    /// </summary>
    /// <param name="ejected">The number of other endpoints that are ejected at this time.</param>
    /// <param name="total">The number of all endpoints.</param>
    /// <returns>Whether this ejected the endpoint.</returns>
    public bool RecordFailure(HealthPolicy policy, long now, int ejected, int total)
    {
        var (before, after) = Update(
            (policy, now, ejected, total),
            static (health, args) => health.AnswerFailed(args.policy, args.now, args.ejected, args.total)!);
        return !before.IsEjected(now) && after.IsEjected(now);
    }

    /// <summary>An active health check finished.</summary>
    /// <returns>Whether the endpoint became healthy or unhealthy.</returns>
    public bool Probed(HealthPolicy policy, bool passed)
    {
        var (before, after) = Update(
            (policy, passed), static (health, args) => health.Probed(args.policy, args.passed)!);
        return before.IsUnhealthy != after.IsUnhealthy;
    }

    public override string ToString() => Name;

    /// <summary>Applies one event to the health atomically. An event that changes nothing costs only a read.</summary>
    private (EndpointHealth Before, EndpointHealth After) Update<TArgs>(
        TArgs args, Func<EndpointHealth, TArgs, EndpointHealth> apply)
    {
        while (true)
        {
            var before = Health;
            var after = apply(before, args);
            if (ReferenceEquals(before, after) || Interlocked.CompareExchange(ref _health, after, before) == before)
            {
                return (before, after);
            }
        }
    }
}
