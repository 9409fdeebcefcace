namespace Kedge.Wire.Loops;

/// <summary>
/// The handlers of a loop's files, under keys that are never reused: the system may still report events of a file after
/// it was closed, when another file may already have its number.
/// </summary>
internal sealed class HandlerTable
{
    private readonly Lock _lock = new();
    private readonly Stack<int> _free = new();
    private (ILoopHandler? Handler, uint Generation)[] _slots = new (ILoopHandler?, uint)[64];
    private int _used;
    private int _count;

    /// <summary>How many handlers there are.</summary>
    public int Count => Volatile.Read(ref _count);

    public ulong Add(ILoopHandler handler)
    {
        lock (_lock)
        {
            if (!_free.TryPop(out var index))
            {
                if (_used == _slots.Length)
                {
                    Array.Resize(ref _slots, 2 * _used);
                }
                index = _used++;
            }
            ref var slot = ref _slots[index];
            slot.Handler = handler;
            _count++;
            return (ulong)slot.Generation << 32 | (uint)index;
        }
    }

    /// <summary>Does nothing if the handler was already removed.</summary>
    public void Remove(ulong key)
    {
        lock (_lock)
        {
            ref var slot = ref _slots[(int)(uint)key];
            if (slot.Handler is null || slot.Generation != (uint)(key >> 32))
            {
                return;
            }
            slot.Handler = null;
            slot.Generation++;
            _free.Push((int)(uint)key);
            _count--;
        }
    }

    /// <summary>Finds a handler; null when it was removed.</summary>
    public ILoopHandler? Find(ulong key)
    {
        lock (_lock)
        {
            var index = (uint)key;
            return index < _used && _slots[index].Generation == (uint)(key >> 32) ? _slots[index].Handler : null;
        }
    }
}
