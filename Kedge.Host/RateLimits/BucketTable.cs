namespace Kedge.Host.RateLimits;

/// <summary>
/// The buckets of a rate limit, by key. It holds a fixed number of keys at a time; when all of them are busy, new keys
/// share one bucket, so that no caller can escape its limit by sending more keys.
/// </summary>
public sealed class BucketTable
{
    // A limit with fewer keys has one shard, so that it holds exactly as many keys as it may.
    private const int MinShard = 4096;
    private const int MaxShards = 64;
    private static int _tables;

    private readonly LoneBucket _common = new();
    private readonly LoneBucket _overflow = new();
    private readonly BucketShard[] _shards;

    /// <param name="maxKeys">At least 1. A large number is divided equally among the shards, rounded up.</param>
    public BucketTable(int maxKeys)
    {
        var count = Math.Clamp(maxKeys / MinShard, 1, MaxShards);
        var capacity = (maxKeys + count - 1) / count;
        _shards = [.. Enumerable.Range(0, count).Select(_ => new BucketShard(capacity))];
    }

    /// <summary>
    /// A request must enter the buckets of several tables in this order, so that no two requests wait for each other.
    /// </summary>
    public int Order { get; } = Interlocked.Increment(ref _tables);

    /// <summary>
    /// Locks the bucket of a key, whose kind must not be <see cref="BucketKind.None"/>. The table does not change
    /// before <see cref="Leave"/>.
    /// </summary>
    public void Enter(BucketKey key, long now, out HeldBucket held)
    {
        held = default;
        if (key.Kind == BucketKind.Common)
        {
            Enter(_common, ref held);
            return;
        }
        var shard = ShardOf(key.Value);
        shard.Lock.Enter();
        held.Shard = shard;
        held.Slot = shard.Find(key.Value);
        if (held.Slot >= 0)
        {
            held.Time = shard.TimeOf(held.Slot);
            return;
        }
        held.IsNew = true;
        held.Slot = shard.FindFree(now);
        if (held.Slot < 0)
        {
            held.IsOverflow = true;
            Enter(_overflow, ref held);
        }
    }

    /// <summary>Unlocks the bucket, with a new time if the request was charged.</summary>
    public static void Leave(BucketKey key, ref HeldBucket held, bool isCharged)
    {
        if (held.Lone is { } lone)
        {
            if (isCharged)
            {
                lone.Time = held.Time;
            }
            lone.Lock.Exit();
        }
        else if (isCharged && held.IsNew)
        {
            held.Shard!.Add(held.Slot, key.Value, held.Time);
        }
        else if (isCharged)
        {
            held.Shard!.Set(held.Slot, held.Time);
        }
        held.Shard?.Lock.Exit();
    }

    /// <summary>Calls the delegate with each key whose bucket is in use, and the bucket's time.</summary>
    public void ForEach(long now, Action<UInt128, long> visit)
    {
        foreach (var shard in _shards)
        {
            lock (shard.Lock)
            {
                shard.ForEach(now, visit);
            }
        }
    }

    /// <summary>How many keys are in use.</summary>
    public int Count(long now)
    {
        var count = 0;
        ForEach(now, (_, _) => count++);
        return count;
    }

    /// <summary>Copies the buckets into a table of another size, as far as there is room.</summary>
    public BucketTable Resized(int maxKeys, long now)
    {
        var table = new BucketTable(maxKeys);
        ForEach(now, (value, time) =>
        {
            var key = BucketKey.Of(value);
            table.Enter(key, now, out var held);
            held.Time = Math.Max(held.Time, time);
            Leave(key, ref held, isCharged: true);
        });
        Copy(_common, table._common);
        Copy(_overflow, table._overflow);
        return table;
    }

    private static void Enter(LoneBucket lone, ref HeldBucket held)
    {
        lone.Lock.Enter();
        held.Lone = lone;
        held.Time = lone.Time;
    }

    private static void Copy(LoneBucket from, LoneBucket to)
    {
        lock (from.Lock)
        {
            to.Time = Math.Max(to.Time, from.Time);
        }
    }

    private BucketShard ShardOf(UInt128 key) =>
        _shards.Length == 1
            ? _shards[0]
            : _shards[(uint)HashCode.Combine((ulong)(key >> 64), (ulong)key) % (uint)_shards.Length];
}
