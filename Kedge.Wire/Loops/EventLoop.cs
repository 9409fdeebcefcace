using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Kedge.Wire.Loops;

/// <summary>
/// A thread that waits for events on many sockets and handles them one by one (epoll, edge-triggered). Nothing on it
/// may block: while it handles one event, all its other sockets wait.
/// </summary>
/// <remarks>
/// A turn has three parts: the events that the system reports, the work posted before the turn, and the work deferred
/// to the end of the turn. Work that is posted during the turn, or deferred during its last part, belongs to the next
/// turn, so that no connection can hold the loop by always having more to do.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "The thread of the loop owns the descriptors.")]
public sealed unsafe class EventLoop
{
    private const int MaxEvents = 256;
    private const ulong WakeKey = ulong.MaxValue;

    // struct epoll_event is packed on x64 only.
    private static readonly int EventSize = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;
    private static readonly int KeyOffset = EventSize - sizeof(ulong);

    [ThreadStatic]
    private static EventLoop? _current;

    private readonly FileDescriptor _epoll = new(Libc.EpollCreate(Libc.CloseOnExec));
    private readonly FileDescriptor _wake = new(Libc.EventFile(0, Libc.NonBlocking | Libc.CloseOnExec));
    private readonly HandlerTable _handlers = new();
    private readonly Thread _thread;
    private readonly Action<Exception> _failed;

    private int _callers;

    private readonly Lock _lock = new();
    // Guarded by the lock.
    private List<ILoopWork> _posted = [];
    private bool _isAsleep;
    private bool _stops;
    private bool _hasStopped;

    // Used only on the loop's thread.
    private List<ILoopWork> _running = [];
    private List<ILoopWork> _endOfTurn = [];
    private List<ILoopWork> _endingTurn = [];

    internal EventLoop(EventLoops group, int index, Action<Exception> failed)
    {
        Group = group;
        Index = index;
        _failed = failed;
        Register(_wake, WakeKey, LoopEvents.Readable | LoopEvents.EdgeTriggered);
        _thread = new Thread(Run) { IsBackground = true, Name = $"loop {index}" };
    }

    /// <summary>The loop of the current thread; null = none.</summary>
    public static EventLoop? Current => _current;

    /// <summary>The loop's index among the loops of the process, from 0.</summary>
    public int Index { get; }

    public LoopStatistics Statistics { get; } = new();

    /// <summary>How many sockets the loop serves.</summary>
    public int Sockets => _handlers.Count;

    /// <summary>How many of these sockets are callers' connections.</summary>
    public int Callers => Volatile.Read(ref _callers);

    internal EventLoops Group { get; }

    /// <summary>Counts the turns. Read it only on the loop's thread.</summary>
    internal long Turn { get; private set; }

    internal bool IsCurrent => _current == this;

    internal void Start() => _thread.Start();

    /// <summary>
    /// Registers a file. The loop reports what the file is ready for now as it reports a change, possibly before this
    /// returns.
    /// </summary>
    /// <returns>The key for <see cref="Remove"/>.</returns>
    /// <exception cref="System.Net.Sockets.SocketException">The system cannot register it.</exception>
    internal ulong Add(SafeHandle file, ILoopHandler handler, LoopEvents events)
    {
        var key = _handlers.Add(handler);
        try
        {
            Register(file, key, events | LoopEvents.EdgeTriggered);
            return key;
        }
        catch
        {
            _handlers.Remove(key);
            throw;
        }
    }

    /// <summary>
    /// Stops the handler's events, except for one that it is handling now. The caller must close the file, which
    /// removes it from the system's list.
    /// </summary>
    internal void Remove(ulong key) => _handlers.Remove(key);

    /// <summary>Runs work on the loop's thread in its next turn, or on a pool thread once the loop has ended.</summary>
    internal void Post(ILoopWork work)
    {
        bool wakes;
        lock (_lock)
        {
            if (_hasStopped)
            {
                ThreadPool.UnsafeQueueUserWorkItem(static work => work.Run(), work, preferLocal: false);
                return;
            }
            _posted.Add(work);
            wakes = _isAsleep;
            _isAsleep = false;
        }
        if (wakes)
        {
            Wake();
        }
    }

    internal void CallerOpened() => Interlocked.Increment(ref _callers);

    internal void CallerClosed() => Interlocked.Decrement(ref _callers);

    /// <summary>Runs work at the end of the current turn. Call it on the loop's thread.</summary>
    internal void AtEndOfTurn(ILoopWork work) => _endOfTurn.Add(work);

    /// <summary>Reports an exception that is a bug in this program.</summary>
    internal void Report(Exception e) => _failed(e);

    /// <summary>Ends the thread after its turn and waits for that, unless called on that thread.</summary>
    internal void Stop()
    {
        lock (_lock)
        {
            _stops = true;
            _isAsleep = false;
        }
        Wake();
        if (!IsCurrent)
        {
            _thread.Join();
        }
    }

    private void Register(SafeHandle file, ulong key, LoopEvents events)
    {
        var registration = stackalloc byte[16];
        var bytes = new Span<byte>(registration, 16);
        bytes.Clear();
        MemoryMarshal.Write(bytes, (uint)events);
        MemoryMarshal.Write(bytes[KeyOffset..], key);
        if (Libc.EpollControl(_epoll, Libc.EpollAdd, file, registration) != 0)
        {
            throw Errno.ToException(Marshal.GetLastPInvokeError());
        }
    }

    /// <summary>Wakes the loop. Each write is a new edge, so the counter need not be read.</summary>
    private void Wake()
    {
        ulong one = 1;
        _ = Libc.Write(_wake, &one, sizeof(ulong));
    }

    private void Run()
    {
        _current = this;
        var events = (byte*)NativeMemory.AllocZeroed(MaxEvents, (nuint)EventSize);
        try
        {
            while (true)
            {
                int timeout;
                lock (_lock)
                {
                    if (_stops)
                    {
                        break;
                    }
                    _isAsleep = _posted.Count == 0 && _endOfTurn.Count == 0;
                    timeout = _isAsleep ? -1 : 0;
                }
                var count = Libc.EpollWait(_epoll, events, MaxEvents, timeout);
                if (count < 0 && Marshal.GetLastPInvokeError() is var error and not Errno.Interrupted)
                {
                    // The loop is useless without events, and a proxy that serves no one should not look alive.
                    Environment.FailFast($"epoll_wait failed with error {error}");
                }
                RunTurn(events, Math.Max(0, count));
            }
        }
        finally
        {
            NativeMemory.Free(events);
            End();
        }
    }

    private void RunTurn(byte* events, int count)
    {
        Turn++;
        Statistics.BeginTurn(count);
        lock (_lock)
        {
            _isAsleep = false;
            (_posted, _running) = (_running, _posted);
        }
        for (var i = 0; i < count; i++)
        {
            var at = events + i * EventSize;
            var key = *(ulong*)(at + KeyOffset);
            if (key == WakeKey || _handlers.Find(key) is not { } handler)
            {
                continue;
            }
            try
            {
                handler.OnEvents((LoopEvents)(*(uint*)at));
            }
            catch (Exception e)
            {
                _failed(e);
            }
        }
        RunAll(_running);
        (_endOfTurn, _endingTurn) = (_endingTurn, _endOfTurn);
        RunAll(_endingTurn);
        Statistics.EndTurn();
    }

    private void RunAll(List<ILoopWork> list)
    {
        for (var i = 0; i < list.Count; i++)
        {
            try
            {
                list[i].Run();
            }
            catch (Exception e)
            {
                _failed(e);
            }
        }
        list.Clear();
    }

    private void End()
    {
        List<ILoopWork> left;
        lock (_lock)
        {
            _hasStopped = true;
            left = [.. _posted, .. _endOfTurn];
            _posted.Clear();
        }
        _current = null;
        foreach (var work in left)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static work => work.Run(), work, preferLocal: false);
        }
        // The two descriptors are left to their finalizers: other threads may still be about to use them.
    }
}
