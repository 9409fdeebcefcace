namespace Kedge.Host.RateLimits;

/// <summary>How many replicas of kedge share the rate limits whose scale is ALL_REPLICAS.</summary>
internal sealed class ReplicaCount
{
    private int _count = 1;

    /// <summary>At least 1: this one.</summary>
    public int Count => Volatile.Read(ref _count);

    public void Set(int count) => Volatile.Write(ref _count, Math.Max(1, count));
}
