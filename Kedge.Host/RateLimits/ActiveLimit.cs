using Kedge.Domain;

namespace Kedge.Host.RateLimits;

/// <summary>A rate limit of the active configuration, with its buckets.</summary>
internal sealed class ActiveLimit(RateLimit limit, BucketTable table, LimitCounters counters, ReplicaCount replicas)
{
    private readonly KeyPart[] _key = [.. limit.Key];
    private readonly Gcra _alone = limit.Share(1);
    private readonly bool _isDivided = limit.Scale == Domain.Decoded.LimitScale.AllReplicas;

    public RateLimit Limit => limit;

    public BucketTable Table => table;

    public LimitCounters Counters => counters;

    public ReadOnlySpan<KeyPart> Key => _key;

    public bool IsShadow { get; } = limit.Shadow;

    /// <summary>What this replica allows now.</summary>
    public Gcra Share => _isDivided ? limit.Share(replicas.Count) : _alone;

    /// <summary>Whether its keys are addresses, and not hashes.</summary>
    public bool HasAddressKeys => _key is [KeyPart.ClientAddress];

    /// <summary>
    /// Whether the buckets of another limit of the same name are those of this one, except for how many there are.
    /// </summary>
    public bool HasSameKeys(RateLimit other) =>
        limit.Key.Equals(other.Key) && limit.OnMissingKey == other.OnMissingKey;
}
