namespace Kedge.Host.Commands;

/// <summary>Kedge is built for Linux. On other systems it is for development only, and says what is missing.</summary>
internal static class PlatformNote
{
    /// <summary>Null on Linux.</summary>
    public static string? Text => OperatingSystem.IsLinux()
        ? null
        : "this system is not Linux: use kedge here for development only. It does not limit connections by the number "
            + "of open files, finds idle and half-closed connections later, and has no --transport=epoll";
}
