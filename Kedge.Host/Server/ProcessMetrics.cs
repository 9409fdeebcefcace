using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;

namespace Kedge.Host.Server;

/// <summary>
/// Metrics of the process, under the names that the client libraries of Prometheus use. The metrics of file descriptors
/// exist on Linux only.
/// </summary>
internal static class ProcessMetrics
{
    private const string Descriptors = "/proc/self/fd";
    private const string Limits = "/proc/self/limits";

    public static void Register(Meter meter)
    {
        using var self = Process.GetCurrentProcess();
        var started = new DateTimeOffset(self.StartTime).ToUnixTimeMilliseconds() / 1000.0;
        meter.CreateObservableCounter("process_cpu_seconds_total", () => Environment.CpuUsage.TotalTime.TotalSeconds,
            description: "CPU time used by the process, in seconds.");
        meter.CreateObservableGauge("process_resident_memory_bytes", () => Environment.WorkingSet,
            description: "Physical memory of the process, in bytes.");
        meter.CreateObservableGauge("process_virtual_memory_bytes", VirtualMemory,
            description: "Address space of the process, in bytes.");
        meter.CreateObservableGauge("process_start_time_seconds", () => started,
            description: "When the process started, in seconds since 1970.");
        if (OperatingSystem.IsLinux())
        {
            meter.CreateObservableGauge("process_open_fds", OpenDescriptors,
                description: "Open file descriptors.");
            meter.CreateObservableGauge("process_max_fds", MaxDescriptors,
                description: "Maximum number of open file descriptors.");
        }
    }

    private static long VirtualMemory()
    {
        using var self = Process.GetCurrentProcess();
        return self.VirtualMemorySize64;
    }

    // Without the descriptor that lists them.
    private static long OpenDescriptors() => Directory.EnumerateFileSystemEntries(Descriptors).Count() - 1;

    /// <summary>The soft limit; no value when there is none, or when it cannot be read.</summary>
    private static IEnumerable<Measurement<long>> MaxDescriptors()
    {
        var line = File.ReadLines(Limits)
            .FirstOrDefault(static line => line.StartsWith("Max open files", StringComparison.Ordinal));
        var words = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        return words.Length > 3 && long.TryParse(words[3], NumberStyles.None, CultureInfo.InvariantCulture, out var max)
            ? [new Measurement<long>(max)]
            : [];
    }
}
