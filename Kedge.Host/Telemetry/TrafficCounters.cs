using System.Numerics;

namespace Kedge.Host.Telemetry;

/// <summary>
/// The requests of one backend by their duration, and how many of them failed. The counts never decrease.
/// </summary>
public sealed class TrafficCounters
{
    /// <summary>How many buckets there are: four for each doubling, from 64 µs to 4 minutes.</summary>
    public const int Buckets = 4 * (LongestDoubling - ShortestDoubling) + 1;

    private const int ShortestDoubling = 6;
    private const int LongestDoubling = 28;

    private readonly long[] _byDuration = new long[Buckets];
    private long _errors;

    /// <summary>Requests that ended with a server error.</summary>
    public long Errors => Volatile.Read(ref _errors);

    public void Record(TimeSpan duration, bool isError)
    {
        Interlocked.Increment(ref _byDuration[BucketOf((long)duration.TotalMicroseconds)]);
        if (isError)
        {
            Interlocked.Increment(ref _errors);
        }
    }

    /// <summary>The number of requests in each bucket.</summary>
    public long[] ByDuration()
    {
        var copy = new long[Buckets];
        for (var i = 0; i < Buckets; i++)
        {
            copy[i] = Volatile.Read(ref _byDuration[i]);
        }
        return copy;
    }

    /// <summary>
    /// The duration that a share of the requests did not exceed, in milliseconds: at most a quarter too high within
    /// the range of the buckets, and 0 without requests.
    /// </summary>
    /// <param name="byDuration">The number of requests in each bucket.</param>
    /// <param name="share">From 0 to 1.</param>
    public static double QuantileMilliseconds(ReadOnlySpan<long> byDuration, double share)
    {
        long all = 0;
        foreach (var count in byDuration)
        {
            all += count;
        }
        if (all == 0)
        {
            return 0;
        }
        var rank = (long)Math.Ceiling(share * all);
        var bucket = 0;
        for (long seen = byDuration[0]; seen < rank; seen += byDuration[bucket])
        {
            bucket++;
        }
        return EndOf(bucket) / 1000.0;
    }

    private static int BucketOf(long microseconds)
    {
        if (microseconds < 1L << ShortestDoubling)
        {
            return 0;
        }
        var doubling = BitOperations.Log2((ulong)microseconds);
        var quarter = (int)(microseconds >> (doubling - 2)) & 3;
        return Math.Min(4 * (doubling - ShortestDoubling) + quarter + 1, Buckets - 1);
    }

    /// <summary>The end of a bucket, in microseconds.</summary>
    private static double EndOf(int bucket) =>
        bucket == 0
            ? 1L << ShortestDoubling
            : (1L << (ShortestDoubling + (bucket - 1) / 4)) * (1 + ((bucket - 1) % 4 + 1) / 4.0);
}
