namespace Kedge.Host.Telemetry;

/// <summary>A ring buffer of the latest items. Writers never wait.</summary>
public sealed class Recent<T>(int capacity)
    where T : class
{
    private readonly T?[] _items = new T?[capacity];
    private long _count;

    public void Add(T item) =>
        Volatile.Write(ref _items[(int)((ulong)(Interlocked.Increment(ref _count) - 1) % (ulong)_items.Length)], item);

    /// <summary>The newest first.</summary>
    public IReadOnlyList<T> Latest()
    {
        var end = Volatile.Read(ref _count);
        var latest = new List<T>(_items.Length);
        for (var i = end - 1; i >= 0 && i > end - 1 - _items.Length; i--)
        {
            if (Volatile.Read(ref _items[(int)((ulong)i % (ulong)_items.Length)]) is { } item)
            {
                latest.Add(item);
            }
        }
        return latest;
    }
}
