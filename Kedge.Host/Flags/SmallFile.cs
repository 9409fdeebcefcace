using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kedge.Host.Flags;

/// <summary>
/// Reads files whose paths an operator gives: configuration, certificates, tokens. Such a path may name anything, so a
/// named pipe must not block the reader, and an endless device must not fill the memory.
/// </summary>
public static class SmallFile
{
    /// <summary>The largest content that is read, in bytes.</summary>
    public const int MaxLength = 16 * 1024 * 1024;

    // O_RDONLY | O_NONBLOCK | O_CLOEXEC. Without O_NONBLOCK, opening a named pipe waits for a writer.
    private static readonly int ReadOnlyNonBlocking = OperatingSystem.IsMacOS() ? 0x4 | 0x1000000 : 0x800 | 0x80000;

    /// <exception cref="IOException">
    /// It is not a regular file, is larger than <see cref="MaxLength"/>, or cannot be read.
    /// </exception>
    /// <exception cref="UnauthorizedAccessException">It is a directory, or permission is denied.</exception>
    public static byte[] Read(string path)
    {
        using var handle = Open(path);
        using var stream = new FileStream(handle, FileAccess.Read, bufferSize: 1, isAsync: false);
        if (!stream.CanSeek || (OperatingSystem.IsLinux() && !IsRegular(handle)))
        {
            throw new IOException("is not a regular file");
        }
        var content = new byte[Math.Min(stream.Length, MaxLength) + 1];
        var length = 0;
        while (true)
        {
            var count = stream.Read(content, length, content.Length - length);
            if (count == 0)
            {
                return content[..length];
            }
            length += count;
            if (length > MaxLength)
            {
                throw new IOException($"is larger than {MaxLength >> 20} MiB");
            }
            if (length == content.Length)
            {
                // The file is growing, or reports no length, as files in /proc do.
                Array.Resize(ref content, Math.Min(MaxLength + 1, (length * 2) + 4096));
            }
        }
    }

    /// <summary>Like <see cref="Read"/>, but returns UTF-8 text.</summary>
    public static string ReadText(string path) => Encoding.UTF8.GetString(Read(path));

    private static SafeFileHandle Open(string path)
    {
        if (Directory.Exists(path))
        {
            throw new UnauthorizedAccessException("is a directory");
        }
        var descriptor = OperatingSystem.IsWindows() || path.Contains('\0') ? -1 : open(path, ReadOnlyNonBlocking);
        // The runtime's own attempt fails for the same reason, and throws the matching exception.
        return descriptor < 0 ? File.OpenHandle(path) : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    // On other systems, it is enough that named pipes cannot seek and that the content is bounded.
    [SupportedOSPlatform("linux")]
    private static unsafe bool IsRegular(SafeFileHandle handle)
    {
        // AT_EMPTY_PATH, STATX_TYPE; struct statx has 256 bytes, with stx_mode at offset 28.
        const int emptyPath = 0x1000;
        const uint type = 1;
        const int modeOffset = 28;
        const int typeMask = 0xF000;
        const int regular = 0x8000;
        Span<byte> status = stackalloc byte[256];
        fixed (byte* buffer = status)
        {
            return statx((int)handle.DangerousGetHandle(), "", emptyPath, type, buffer) == 0
                && (BitConverter.ToUInt16(status[modeOffset..]) & typeMask) == regular;
        }
    }

    [UnsupportedOSPlatform("windows")]
    [DllImport("libc", SetLastError = true, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [SupportedOSPlatform("linux")]
    [DllImport("libc", SetLastError = true, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern unsafe int statx(
        int directory, [MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags, uint mask, byte* buffer);
}
