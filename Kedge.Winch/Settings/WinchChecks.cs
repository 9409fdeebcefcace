using System.Net;
using Kedge.Client.Connections;
using Kedge.Host.Flags;
using Kedge.Winch.Listening;

namespace Kedge.Winch.Settings;

/// <summary>Rules about flags that do not concern files.</summary>
internal static class WinchChecks
{
    /// <summary>A line for each rule that the flags break.</summary>
    public static IReadOnlyList<string> Errors(FlagValues flags) =>
        [.. Bind(flags), .. Unix(flags), .. Monitoring(flags), .. Upstream(flags)];

    /// <summary>The address of the monitoring port; null = there is none.</summary>
    /// <exception cref="FormatException">The flag is not an address and a port.</exception>
    public static IPEndPoint? MonitoringAddress(FlagValues flags)
    {
        var text = flags.Get(WinchFlags.MonitoringAddress);
        if (text.Length == 0)
        {
            return null;
        }
        var complete = text.StartsWith(':') ? $"127.0.0.1{text}" : text.Replace("localhost", "127.0.0.1");
        return IPEndPoint.TryParse(complete, out var address) && address.Port > 0
            ? address
            : throw new FormatException(
                $"{WinchFlags.MonitoringAddress}: '{text}' is not an address and a port, such as 127.0.0.1:9090");
    }

    private static IEnumerable<string> Bind(FlagValues flags)
    {
        var address = flags.Get(WinchFlags.BindAddress);
        if (!IPAddress.IsLoopback(address) && !flags.Get(WinchFlags.UnsafeBind))
        {
            yield return
                $"{WinchFlags.BindAddress}: {address} is not a loopback address, and anyone who reaches it uses your "
                + $"credentials; {WinchFlags.UnsafeBind} allows it";
        }
    }

    private static IEnumerable<string> Unix(FlagValues flags) =>
        flags.Get(WinchFlags.ListenUnix) is { Length: > 0 } path && UnixSocket.Problem(path) is { } problem
            ? [$"{WinchFlags.ListenUnix}: {problem}"]
            : [];

    private static IEnumerable<string> Monitoring(FlagValues flags)
    {
        string? problem = null;
        try
        {
            MonitoringAddress(flags);
        }
        catch (FormatException e)
        {
            problem = e.Message;
        }
        return problem is null ? [] : [problem];
    }

    private static IEnumerable<string> Upstream(FlagValues flags)
    {
        if (flags.Get(WinchFlags.UpstreamProxy) is not { } proxy)
        {
            yield break;
        }
        if (UpstreamProxy.Problem(proxy) is { } problem)
        {
            yield return $"{WinchFlags.UpstreamProxy}: {problem}";
            yield break;
        }
        int[] own = [flags.Get(WinchFlags.HttpPort), flags.Get(WinchFlags.GrpcPort)];
        if (proxy.IsLoopback && own.Contains(proxy.Port))
        {
            yield return $"{WinchFlags.UpstreamProxy}: {proxy.IdnHost}:{proxy.Port} is winch itself";
        }
    }
}
