using System.Diagnostics;
using System.Globalization;

namespace Kedge.Bench;

/// <summary>CPU time and memory of a process and its children, as the kernel counts them (proc(5)).</summary>
internal static class ProcessTree
{
    private const double TicksPerSecond = 100;

    public static TimeSpan CpuTime(Process root) =>
        TimeSpan.FromSeconds(Members(root.Id).Sum(pid => Ticks(pid)) / TicksPerSecond);

    public static long ResidentBytes(Process root) =>
        Members(root.Id).Sum(pid => Fields(pid) is { } fields ? Number(fields[21]) * Environment.SystemPageSize : 0);

    private static List<int> Members(int root)
    {
        var parents = new Dictionary<int, int>();
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), out var pid) && Fields(pid) is { } fields)
            {
                parents[pid] = int.Parse(fields[1], CultureInfo.InvariantCulture);
            }
        }

        var members = new List<int> { root };
        for (var i = 0; i < members.Count; i++)
        {
            members.AddRange(parents.Where(p => p.Value == members[i]).Select(p => p.Key));
        }

        return members;
    }

    private static long Ticks(int pid) =>
        Fields(pid) is { } fields
            ? Number(fields[11]) + Number(fields[12])
            : 0;

    private static long Number(string field) => long.Parse(field, CultureInfo.InvariantCulture);

    /// <summary>
    /// The fields of /proc/PID/stat from "state" on; the name before them can contain spaces. Null when the process has
    /// ended.
    /// </summary>
    private static string[]? Fields(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }
}
