using System.Collections.Concurrent;

namespace Kedge.Host.Forwarding;

/// <summary>Pools the cancellation sources of exchanges. A source is reused unless it was cancelled.</summary>
internal static class CancellationSources
{
    private const int MaxPooled = 1024;

    private static readonly ConcurrentQueue<CancellationTokenSource> Pool = new();
    private static int _count;

    public static CancellationTokenSource Rent()
    {
        if (Pool.TryDequeue(out var source))
        {
            Interlocked.Decrement(ref _count);
            return source;
        }
        return new CancellationTokenSource();
    }

    /// <summary>Returns a source, which must not be cancelled or registered with from now on.</summary>
    public static void Return(CancellationTokenSource source)
    {
        if (source.TryReset())
        {
            if (Interlocked.Increment(ref _count) <= MaxPooled)
            {
                Pool.Enqueue(source);
                return;
            }
            Interlocked.Decrement(ref _count);
        }
        source.Dispose();
    }
}
