using System.Net.Sockets;

namespace Kedge.Wire.Loops;

/// <summary>The Linux error numbers that matter here, and .NET's names for them.</summary>
internal static class Errno
{
    public const int Interrupted = 4;
    public const int Again = 11;
    public const int BrokenPipe = 32;
    public const int InProgress = 115;

    /// <summary>The exception for the error number of a failed system call on a socket.</summary>
    public static SocketException ToException(int number) => new((int)ToSocketError(number));

    public static SocketError ToSocketError(int number) => number switch
    {
        1 or 13 => SocketError.AccessDenied,
        Interrupted => SocketError.Interrupted,
        9 or 88 => SocketError.NotSocket,
        Again => SocketError.WouldBlock,
        12 or 105 => SocketError.NoBufferSpaceAvailable,
        22 => SocketError.InvalidArgument,
        23 or 24 => SocketError.TooManyOpenSockets,
        BrokenPipe => SocketError.Shutdown,
        97 => SocketError.AddressFamilyNotSupported,
        98 => SocketError.AddressAlreadyInUse,
        99 => SocketError.AddressNotAvailable,
        100 => SocketError.NetworkDown,
        101 => SocketError.NetworkUnreachable,
        102 => SocketError.NetworkReset,
        103 => SocketError.ConnectionAborted,
        104 => SocketError.ConnectionReset,
        107 => SocketError.NotConnected,
        110 => SocketError.TimedOut,
        111 => SocketError.ConnectionRefused,
        112 => SocketError.HostDown,
        113 => SocketError.HostUnreachable,
        InProgress => SocketError.InProgress,
        _ => SocketError.SocketError,
    };
}
