using System.Numerics;
using System.Runtime.InteropServices;

namespace Kedge.Host.RateLimits;

/// <summary>
/// A part of the buckets of a rate limit: a hash table of a fixed capacity. A bucket whose time has come is equivalent
/// to one that was never used, so its slot is free for another key. Use all members under <see cref="Lock"/>.
/// </summary>
/// <param name="capacity">How many keys it holds at a time; at least 1.</param>
public sealed class BucketShard(int capacity)
{
    private const int None = -1;

    // Allocated with the first key. The slots of keys with the same hash form a list.
    private int[] _heads = [];
    private Slot[] _slots = [];

    // Slots from here on have never been used.
    private int _used;

    // The first of the slots that are free again.
    private int _free = None;

    // Where the search for a slot whose time has come continues.
    private int _hand;

    // No slot's time comes before this: times only grow.
    private long _noneBefore;

    public Lock Lock { get; } = new();

    /// <summary>The slot of a key, or -1.</summary>
    public int Find(UInt128 key)
    {
        if (_used == 0)
        {
            return None;
        }
        var slot = _heads[BucketOf(key)];
        while (slot != None && _slots[slot].Key != key)
        {
            slot = _slots[slot].Next;
        }
        return slot;
    }

    /// <summary>A slot that is free for a new key, or -1 when all are busy.</summary>
    public int FindFree(long now)
    {
        if (_free != None)
        {
            return _free;
        }
        if (_used < capacity)
        {
            Allocate();
            _slots[_used].Next = None;
            _free = _used++;
            return _free;
        }
        if (now < _noneBefore)
        {
            return None;
        }
        var earliest = long.MaxValue;
        for (var i = 0; i < capacity; i++)
        {
            var slot = _hand;
            _hand = _hand + 1 == capacity ? 0 : _hand + 1;
            if (_slots[slot].Time <= now)
            {
                Unlink(slot);
                _slots[slot].Next = None;
                _free = slot;
                return slot;
            }
            earliest = Math.Min(earliest, _slots[slot].Time);
        }
        _noneBefore = earliest;
        return None;
    }

    public long TimeOf(int slot) => _slots[slot].Time;

    /// <summary>Sets the time of a key that the shard contains.</summary>
    public void Set(int slot, long time) => _slots[slot].Time = time;

    /// <summary>Adds a key to the slot that <see cref="FindFree"/> has returned.</summary>
    public void Add(int slot, UInt128 key, long time)
    {
        _free = _slots[slot].Next;
        var bucket = BucketOf(key);
        _slots[slot] = new Slot { Key = key, Time = time, Next = _heads[bucket] };
        _heads[bucket] = slot;
        _noneBefore = Math.Min(_noneBefore, time);
    }

    /// <summary>Calls the delegate with each key whose time has not come.</summary>
    public void ForEach(long now, Action<UInt128, long> visit)
    {
        for (var slot = 0; slot < _used; slot++)
        {
            if (_slots[slot].Time > now)
            {
                visit(_slots[slot].Key, _slots[slot].Time);
            }
        }
    }

    // The runtime seeds this hash at random for each process: callers cannot send keys that all end up in one bucket.
    private int BucketOf(UInt128 key) =>
        HashCode.Combine((ulong)key, (ulong)(key >> 64)) & (_heads.Length - 1);

    private void Allocate()
    {
        if (_heads.Length == 0)
        {
            _slots = new Slot[capacity];
            _heads = new int[BitOperations.RoundUpToPowerOf2((uint)capacity)];
            _heads.AsSpan().Fill(None);
        }
    }

    private void Unlink(int slot)
    {
        ref var link = ref _heads[BucketOf(_slots[slot].Key)];
        while (link != slot)
        {
            link = ref _slots[link].Next;
        }
        link = _slots[slot].Next;
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Slot
    {
        public UInt128 Key;
        public long Time;
        public int Next;
    }
}
