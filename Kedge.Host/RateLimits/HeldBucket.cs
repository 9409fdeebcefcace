namespace Kedge.Host.RateLimits;

/// <summary>A bucket that is locked for one request, until the request leaves its <see cref="BucketTable"/>.</summary>
public struct HeldBucket
{
    /// <summary>Null for a bucket that is not in a shard.</summary>
    public BucketShard? Shard { get; set; }

    /// <summary>The slot in the shard.</summary>
    public int Slot { get; set; }

    /// <summary>Whether the shard does not contain the key yet.</summary>
    public bool IsNew { get; set; }

    /// <summary>The common bucket or the overflow bucket; null for one in a shard.</summary>
    public LoneBucket? Lone { get; set; }

    /// <summary>Whether it is shared by the keys for which there is no room.</summary>
    public bool IsOverflow { get; set; }

    /// <summary>Its theoretical arrival time (<see cref="Domain.Gcra"/>).</summary>
    public long Time { get; set; }
}

/// <summary>A bucket that always exists.</summary>
public sealed class LoneBucket
{
    public Lock Lock { get; } = new();

    /// <summary>Use it under the lock.</summary>
    public long Time { get; set; }
}
