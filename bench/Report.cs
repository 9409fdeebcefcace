using System.Globalization;
using System.Text;

namespace Kedge.Bench;

/// <summary>The table, in Markdown. Every figure is a median over the rounds.</summary>
internal static class Report
{
    public static string Render(List<Sample> samples, RunOptions options)
    {
        var text = new StringBuilder();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"{options.Rounds} interleaved rounds, medians; {Environment.ProcessorCount} cores.");
        foreach (var workload in Workload.All.Where(w => samples.Exists(s => s.Workload == w.Name)))
        {
            text.AppendLine();
            text.AppendLine(CultureInfo.InvariantCulture, $"### {workload.Title}");
            text.AppendLine();
            text.Append("| proxy | CPU µs/request | / bare | / haproxy ");
            text.AppendLine("| requests/s | p50 ms | p99 ms | failed | resident MB |");
            text.AppendLine("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
            var rows = samples
                .Where(s => s.Workload == workload.Name)
                .GroupBy(s => s.Proxy)
                .ToDictionary(g => g.Key, g => g.ToArray());
            foreach (var (proxy, runs) in rows)
            {
                var cpu = Median(runs, r => r.CpuMicrosecondsPerRequest);
                text.AppendLine(
                    CultureInfo.InvariantCulture,
                    $"| {proxy} | {cpu:F1} | {Ratio(rows, "bare", cpu)} | {Ratio(rows, "haproxy", cpu)} "
                    + $"| {Median(runs, r => r.Load.Succeeded / r.Load.Seconds):F0} "
                    + $"| {Median(runs, r => r.Load.P50):F2} | {Median(runs, r => r.Load.P99):F2} "
                    + $"| {runs.Sum(r => r.Load.Failed)} | {Median(runs, r => r.ResidentBytes / 1048576.0):F0} |");
            }
        }

        return text.ToString();
    }

    private static string Ratio(Dictionary<string, Sample[]> rows, string other, double cpu) =>
        rows.TryGetValue(other, out var runs)
            ? (cpu / Median(runs, r => r.CpuMicrosecondsPerRequest)).ToString("F2", CultureInfo.InvariantCulture)
            : "–";

    private static double Median(Sample[] runs, Func<Sample, double> figure)
    {
        var sorted = runs.Select(figure).Order().ToArray();
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
