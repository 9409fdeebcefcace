using System.Net;
using Kedge.Domain;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Backends;

/// <summary>
/// A live endpoint: its address, its requests under way, and what is known of its health. Lives as long as its backend's
/// resolver names it, so that a change of the set around it does not wipe its state.
/// </summary>
public sealed class Endpoint
{
    private EndpointHealth _health = EndpointHealth.Initial!;
    private int _inFlight;
    private long _requests;
    private long _failures;

    public Endpoint(ResolvedEndpoint resolved, bool tls)
    {
        Resolved = resolved;
        UriPrefix = (tls ? "https://" : "http://") + resolved.Address;
    }

    public ResolvedEndpoint Resolved { get; }

    /// <summary>Scheme, address and port of the requests that go there.</summary>
    public string UriPrefix { get; }

    public EndpointHealth Health => Volatile.Read(ref _health);

    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>How many requests went there.</summary>
    public long Requests => Volatile.Read(ref _requests);

    /// <summary>How many connections could not be made.</summary>
    public long Failures => Volatile.Read(ref _failures);

    public void RequestStarted()
    {
        Interlocked.Increment(ref _inFlight);
        Interlocked.Increment(ref _requests);
    }

    public void RequestEnded() => Interlocked.Decrement(ref _inFlight);

    /// <summary>A connection could not be made.</summary>
    public void ConnectFailed(HealthPolicy policy, long now)
    {
        Interlocked.Increment(ref _failures);
        EndpointHealth seen, next;
        do
        {
            seen = Health;
            next = seen.ConnectFailed(policy, now)!;
        }
        while (Interlocked.CompareExchange(ref _health, next, seen) != seen);
    }

    /// <summary>An answer came.</summary>
    public void Succeeded()
    {
        var seen = Health;
        var next = seen.Succeeded()!;
        if (!ReferenceEquals(seen, next))
        {
            // Losing a race against another event only means that the other event counts.
            Interlocked.CompareExchange(ref _health, next, seen);
        }
    }

    /// <summary>An answer came, but it may still turn out to be a failure: only the connection is known to be good.</summary>
    public void Connected()
    {
        var seen = Health;
        var next = seen.Connected()!;
        if (!ReferenceEquals(seen, next))
        {
            Interlocked.CompareExchange(ref _health, next, seen);
        }
    }

    /// <summary>A failed answer, or a connection that broke off. <see cref="EndpointSet"/> says how many are ejected already.</summary>
    /// <returns>Whether it ejected the endpoint.</returns>
    public bool AnswerFailed(HealthPolicy policy, long now, int ejected, int total)
    {
        EndpointHealth seen, next;
        do
        {
            seen = Health;
            next = seen.AnswerFailed(policy, now, ejected, total)!;
        }
        while (Interlocked.CompareExchange(ref _health, next, seen) != seen);
        return !seen.IsEjected(now) && next.IsEjected(now);
    }

    /// <summary>An active health check came to an end.</summary>
    /// <returns>Whether the endpoint is now unwell and was not, or the other way round.</returns>
    public bool Probed(HealthPolicy policy, bool passed)
    {
        EndpointHealth seen, next;
        do
        {
            seen = Health;
            next = seen.Probed(policy, passed)!;
        }
        while (Interlocked.CompareExchange(ref _health, next, seen) != seen);
        return seen.IsUnhealthy != next.IsUnhealthy;
    }

    public override string ToString() => Resolved.Address.ToString();
}
