using System.Runtime.InteropServices;

namespace Kedge.Wire.Loops;

/// <summary>
/// The system calls of the event loops, on Linux. They return what the system returns; after -1,
/// <see cref="Marshal.GetLastPInvokeError"/> returns the error number.
/// </summary>
internal static unsafe partial class Libc
{
    public const int InetFamily = 2;
    public const int Inet6Family = 10;
    public const int StreamSocket = 1;
    public const int NonBlocking = 0x800;
    public const int CloseOnExec = 0x80000;

    public const int SocketLevel = 1;
    public const int SocketError = 4;
    public const int KeepAlive = 9;
    public const int Linger = 13;

    public const int TcpLevel = 6;
    public const int NoDelay = 1;
    public const int KeepAliveIdle = 4;
    public const int KeepAliveInterval = 5;
    public const int KeepAliveCount = 6;
    public const int TcpInfo = 11;

    public const int NoSignal = 0x4000;
    public const int Peek = 2;
    public const int ShutdownBoth = 2;

    public const int EpollAdd = 1;

    private const string Library = "libc";

    [LibraryImport(Library, EntryPoint = "epoll_create1", SetLastError = true)]
    public static partial int EpollCreate(int flags);

    [LibraryImport(Library, EntryPoint = "epoll_ctl", SetLastError = true)]
    public static partial int EpollControl(SafeHandle epoll, int operation, SafeHandle file, byte* registration);

    [LibraryImport(Library, EntryPoint = "epoll_wait", SetLastError = true)]
    public static partial int EpollWait(SafeHandle epoll, byte* events, int max, int timeout);

    [LibraryImport(Library, EntryPoint = "eventfd", SetLastError = true)]
    public static partial int EventFile(uint value, int flags);

    [LibraryImport(Library, EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(SafeHandle file, void* bytes, nint count);

    [LibraryImport(Library, EntryPoint = "close")]
    public static partial int Close(nint file);

    [LibraryImport(Library, EntryPoint = "socket", SetLastError = true)]
    public static partial int Socket(int family, int type, int protocol);

    [LibraryImport(Library, EntryPoint = "connect", SetLastError = true)]
    public static partial int Connect(SafeHandle socket, byte* address, int length);

    [LibraryImport(Library, EntryPoint = "accept4", SetLastError = true)]
    public static partial int Accept(SafeHandle socket, byte* address, int* length, int flags);

    [LibraryImport(Library, EntryPoint = "getsockname", SetLastError = true)]
    public static partial int GetName(SafeHandle socket, byte* address, int* length);

    [LibraryImport(Library, EntryPoint = "recv", SetLastError = true)]
    public static partial nint Receive(SafeHandle socket, byte* bytes, nint count, int flags);

    [LibraryImport(Library, EntryPoint = "send", SetLastError = true)]
    public static partial nint Send(SafeHandle socket, byte* bytes, nint count, int flags);

    [LibraryImport(Library, EntryPoint = "shutdown", SetLastError = true)]
    public static partial int Shutdown(SafeHandle socket, int how);

    [LibraryImport(Library, EntryPoint = "setsockopt", SetLastError = true)]
    public static partial int SetOption(SafeHandle socket, int level, int name, void* value, int length);

    [LibraryImport(Library, EntryPoint = "getsockopt", SetLastError = true)]
    public static partial int GetOption(SafeHandle socket, int level, int name, void* value, int* length);
}
