using System.Net;
using Kedge.Domain;

namespace Kedge.Host.Backends;

/// <summary>What a resolver says of one endpoint. Two that are equal are the same endpoint.</summary>
/// <param name="Address">Where to connect.</param>
/// <param name="DnsName">The name under which it was found, for TLS; empty when it was found by its address.</param>
/// <param name="Rank">SRV priority and weight; 0 and 0 for others.</param>
public sealed record ResolvedEndpoint(IPEndPoint Address, string DnsName, EndpointRank Rank)
{
    public static ResolvedEndpoint Of(IPAddress address, int port, string dnsName) =>
        new(new IPEndPoint(address, port), dnsName, default);
}

/// <summary>
/// A live endpoint: its address, its requests under way, and what is known of its health. Lives as long as its backend's
/// resolver names it, so that a change of the set around it does not wipe its state.
/// </summary>
public sealed class Endpoint
{
    private EndpointHealth _health = EndpointHealth.Initial!;
    private int _inFlight;

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

    public void RequestStarted() => Interlocked.Increment(ref _inFlight);

    public void RequestEnded() => Interlocked.Decrement(ref _inFlight);

    /// <summary>A connection could not be made.</summary>
    public void ConnectFailed(HealthPolicy policy, long now)
    {
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

    public override string ToString() => Resolved.Address.ToString();
}
