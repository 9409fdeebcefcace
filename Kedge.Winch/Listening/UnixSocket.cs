using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Kedge.Winch.Listening;

/// <summary>Binds sockets; only their user may access sockets in the file system.</summary>
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
            // sockaddr_un has no room for a longer path.
            return $"'{path}' is not a valid path for a socket (at most about 100 bytes)";
        }
    }

    /// <summary>
    /// A bound socket that does not listen yet. A socket in the file system has its permissions before it accepts
    /// connections.
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

    /// <summary>Removes the file of a socket on which no process listens any more; does nothing for a port.</summary>
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
    /// Removes a socket that a killed process left behind, unless another process listens on it. A file with content is
    /// not a socket, and stays.
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
