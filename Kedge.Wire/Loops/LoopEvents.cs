namespace Kedge.Wire.Loops;

/// <summary>The events that epoll reports for a file.</summary>
[Flags]
internal enum LoopEvents : uint
{
    None = 0,
    Readable = 0x1,

    /// <summary>There is urgent data.</summary>
    Urgent = 0x2,
    Writable = 0x4,
    Error = 0x8,

    /// <summary>Both directions have ended.</summary>
    HungUp = 0x10,

    /// <summary>The peer has ended its direction.</summary>
    PeerEnded = 0x2000,

    /// <summary>Reports each change once, not for as long as a condition holds.</summary>
    EdgeTriggered = 1u << 31,
}

/// <summary>Receives the events of a file that is registered with an <see cref="EventLoop"/>.</summary>
internal interface ILoopHandler
{
    /// <summary>Called on the loop's thread. May be called once more after the file was removed.</summary>
    void OnEvents(LoopEvents events);
}

/// <summary>Work for the thread of an <see cref="EventLoop"/>. It must return soon and must not block.</summary>
internal interface ILoopWork
{
    void Run();
}
