namespace Kedge.Host.RateLimits;

/// <summary>A bucket that is locked for one request, until its <see cref="BucketTable"/> is left.</summary>
public struct HeldBucket
{
    /// <summary>Null for a bucket that is not in a shard.</summary>
    public BucketShard? Shard { get; set; }

    /// <summary>Where in the shard.</summary>
    public int Slot { get; set; }

    /// <summary>Whether the shard does not have the key yet.</summary>
    public bool IsNew { get; set; }

    /// <summary>The common bucket or the overflow bucket; null for one in a shard.</summary>
    public LoneBucket? Lone { get; set; }

    /// <summary>Whether it is shared by the keys for which there is no room.</summary>
    public bool IsOverflow { get; set; }

    /// <summary>Its theoretical arrival time (<see cref="Domain.Gcra"/>).</summary>
    public long Time { get; set; }
}

/// <summary>A bucket that is always there.</summary>
public sealed class LoneBucket
{
    public Lock Lock { get; } = new();

    /// <summary>To be used under the lock.</summary>
    public long Time { get; set; }
}
