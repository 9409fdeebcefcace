using System.Globalization;

namespace Kedge.Host.Listeners;

/// <summary>
/// How kedge divides the limit on open files (RLIMIT_NOFILE). Each connection counts as one, and so does each file.
/// </summary>
/// <param name="Limit">
/// How many the process may have open. The runtime raises the soft limit to the hard one when it starts.
/// </param>
/// <param name="InUse">How many it has open now, before it accepts connections.</param>
public sealed record OpenFiles(int Limit, int InUse)
{
    /// <summary>Kedge does not start with a lower limit: its own code alone needs about 220.</summary>
    public const int LeastLimit = 384;

    /// <summary>The most connections on the debug port, and on the grpc.health.v1 port.</summary>
    public const int DebugConnections = 32;

    private const int LeastReserve = 64;
    private const int MostReserve = 1024;

    /// <summary>
    /// How many connections callers may have. The same number remains for connections to backends, and a reserve for
    /// everything else: DNS, the cluster, logs, files and the debug port.
    /// </summary>
    public int CallerConnections =>
        Math.Max(8, (Limit - InUse - Math.Clamp(Limit / 8, LeastReserve, MostReserve) - DebugConnections) / 2);

    /// <summary>The most connections to backends.</summary>
    public int BackendConnections => CallerConnections;

    /// <summary>Null where the system does not report the limit; kedge then assumes none.</summary>
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
