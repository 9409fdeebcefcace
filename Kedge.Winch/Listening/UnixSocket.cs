using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Kedge.Winch.Listening;

/// <summary>Binds sockets; those in the file system are for their user alone.</summary>
internal static class UnixSocket
{
    private const UnixFileMode ForItsUser = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>What is wrong with a path; null = nothing.</summary>
    public static string? Problem(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return "Unix domain sockets are not supported on Windows";
        }
        try
        {
            _ = new UnixDomainSocketEndPoint(path);
            return null;
        }
        catch (ArgumentException)
        {
            // sockaddr_un has room for no more.
            return $"'{path}' is not a valid path for a socket (at most about 100 bytes)";
        }
    }

    /// <summary>
    /// A bound socket on which nobody listens yet. One in the file system has its permissions before it takes a
    /// connection.
    /// </summary>
    public static Socket Bind(EndPoint endpoint)
    {
        if (endpoint is not UnixDomainSocketEndPoint)
        {
            return SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
        }
        var path = endpoint.ToString()!;
        RemoveAbandoned(path, endpoint);
        var socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(path, ForItsUser);
            }
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Removes the file of a socket on which nobody listens any more; nothing for a port.</summary>
    public static void Remove(EndPoint endpoint)
    {
        if (endpoint is UnixDomainSocketEndPoint)
        {
            try
            {
                File.Delete(endpoint.ToString()!);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The next start replaces it.
            }
        }
    }

    /// <summary>
    /// A process that was killed leaves its socket behind. It is removed if nobody answers there; a file with content
    /// is not a socket, and stays.
    /// </summary>
    private static void RemoveAbandoned(string path, EndPoint endpoint)
    {
        var file = new FileInfo(path);
        if (!file.Exists || file.Length > 0)
        {
            return;
        }
        var isAbandoned = false;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(endpoint);
        }
        catch (SocketException e)
        {
            isAbandoned = e.SocketErrorCode == SocketError.ConnectionRefused;
        }
        if (isAbandoned)
        {
            file.Delete();
        }
    }
}
