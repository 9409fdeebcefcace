using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kedge.Wire.Loops;

/// <summary>
/// An open file, socket or epoll instance. Closed when it is disposed of, but never while a system call uses it.
/// </summary>
internal sealed class FileDescriptor : SafeHandleMinusOneIsInvalid
{
    /// <param name="number">What the system call returned that opened it.</param>
    /// <exception cref="System.Net.Sockets.SocketException">It returned -1.</exception>
    public FileDescriptor(int number)
        : base(ownsHandle: true)
    {
        if (number < 0)
        {
            throw Errno.ToException(Marshal.GetLastPInvokeError());
        }
        SetHandle(number);
    }

    protected override bool ReleaseHandle() => Libc.Close(handle) == 0;
}
