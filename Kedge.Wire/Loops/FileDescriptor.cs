using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kedge.Wire.Loops;

/// <summary>
/// An open file, socket or epoll instance. Disposing of it closes it, but never while a system call uses it.
/// </summary>
internal sealed class FileDescriptor : SafeHandleMinusOneIsInvalid
{
    /// <param name="number">The result of the system call that opened it.</param>
    /// <exception cref="System.Net.Sockets.SocketException">The system call returned -1.</exception>
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
