using System.Globalization;

namespace Kedge.Host.Listeners;

/// <summary>
/// How the limit on open files (RLIMIT_NOFILE) is shared out. Each connection needs one, and so does each file.
/// </summary>
/// <param name="Limit">
/// What the process may have open. The runtime has raised the soft limit to the hard one at its start.
/// </param>
/// <param name="InUse">What it has open now, before it accepts connections.</param>
public sealed record OpenFiles(int Limit, int InUse)
{
    /// <summary>Kedge does not start with a lower limit: its own code alone takes some 220.</summary>
    public const int LeastLimit = 384;

    /// <summary>The most connections on the debug port, and on that of grpc.health.v1.</summary>
    public const int DebugConnections = 32;

    private const int LeastReserve = 64;
    private const int MostReserve = 1024;

    /// <summary>
    /// How many connections callers may have. As many again are left for connections to backends, and a reserve for
    /// everything else: DNS, the cluster, logs, files and the debug port.
    /// </summary>
    public int CallerConnections =>
        Math.Max(8, (Limit - InUse - Math.Clamp(Limit / 8, LeastReserve, MostReserve) - DebugConnections) / 2);

    /// <summary>How many connections to backends there may be.</summary>
    public int BackendConnections => CallerConnections;

    /// <summary>Null where the system does not say, which is then no limit.</summary>
    public static OpenFiles? OfProcess()
    {
        try
        {
            const string name = "Max open files";
            var line = File.ReadLines("/proc/self/limits")
                .First(line => line.StartsWith(name, StringComparison.Ordinal));
            var soft = line[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0];
            var limit = long.TryParse(soft, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                ? (int)Math.Min(number, int.MaxValue)
                : int.MaxValue;
            return new(limit, Directory.EnumerateFileSystemEntries("/proc/self/fd").Count());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidOperationException)
        {
            return null;
        }
    }
}
