using System.Runtime.CompilerServices;
using Kedge.Domain;

namespace Kedge.Host.Telemetry;

/// <summary>How often a route or ad-hoc rule took a request. Lives as long as its rule, across reloads.</summary>
public sealed class RuleHits
{
    private readonly StrongBox<long> _count;

    public RuleHits(RouteInfo info)
        : this(info, new StrongBox<long>())
    {
    }

    private RuleHits(RouteInfo info, StrongBox<long> count)
    {
        Info = info;
        _count = count;
    }

    public RouteInfo Info { get; }

    public long Count => Volatile.Read(ref _count.Value);

    public void Hit() => Interlocked.Increment(ref _count.Value);

    /// <summary>The same count, for the rule as another configuration has it.</summary>
    public RuleHits For(RouteInfo info) => ReferenceEquals(info, Info) ? this : new(info, _count);
}
