using System.Globalization;

namespace Kedge.Bench;

/// <summary>A constant mixed load for a long time.</summary>
internal static class Soak
{
    /// <summary>Minutes in which memory may still grow: caches fill, and hot code is compiled.</summary>
    private const int WarmUp = 5;

    private const double LongestStall = 0.05;

    /// <summary>
    /// 0 = no request failed, no event loop stalled for more than 50 ms, and memory at the end is at most a tenth above
    /// that of the first minutes; 1 = otherwise.
    /// </summary>
    public static async Task<int> MainAsync(SoakOptions options) =>
        H2load.IsInstalled() ? await Site.WithBackendsAsync(site => RunAsync(options, site)) : 2;

    private static async Task<int> RunAsync(SoakOptions options, Site site)
    {
        var run = RunOptions.Parse(
            ["--kedge", options.Kedge, .. options.KedgeFlags.SelectMany(f => (string[])["--kedge-flag", f])]);
        await using var kedge = (await Proxy.StartAsync("kedge", run, site))!;
        var outcome = await WatchAsync(kedge, options, site);
        if (outcome != 0)
        {
            // Warnings and errors; at the default level there is nothing else after the start.
            var log = File.ReadLines(Path.Combine(site.Directory, "kedge.log"));
            Console.WriteLine(string.Join('\n', log.TakeLast(20)));
        }

        return outcome;
    }

    private static async Task<int> WatchAsync(Proxy kedge, SoakOptions options, Site site)
    {
        using var client = new HttpClient();
        var failures = 0;
        var stall = 0.0;
        var settled = 0L;
        var resident = 0L;
        Console.WriteLine("minute  requests  failed  CPU µs  p99 ms  stall ms  resident MB");
        for (var minute = 1; minute <= options.Minutes; minute++)
        {
            var before = kedge.CpuTime;
            var loads = await Task.WhenAll(Workload.All.Select(w => MinuteAsync(w, options.Load, kedge, site)));
            var requests = loads.Sum(load => load.Succeeded + load.Failed);
            var failed = loads.Sum(load => load.Failed);
            var longest = await StallAsync(client, kedge.DebugPort);
            resident = kedge.ResidentBytes;
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{minute,6}{requests,10}{failed,8}{(kedge.CpuTime - before).TotalMicroseconds / requests,8:F1}"
                + $"{loads.Max(load => load.P99),8:F1}{longest * 1000,10:F1}{resident / 1e6,13:F1}"));
            foreach (var (workload, load) in Workload.All.Zip(loads).Where(pair => pair.Second.Failed > 0))
            {
                Console.WriteLine($"        {workload.Name}: {load.Counts}");
            }

            failures += failed;
            // The first minute compiles hot code.
            stall = minute > 1 ? Math.Max(stall, longest) : stall;
            settled = minute <= WarmUp ? Math.Max(settled, resident) : settled;
        }

        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{failures} failed; longest stall {stall * 1000:F1} ms; resident {settled / 1e6:F1} MB at most in the "
            + $"first {WarmUp} minutes, {resident / 1e6:F1} MB at the end"));
        return failures == 0 && stall <= LongestStall && resident <= settled * 1.1 ? 0 : 1;
    }

    private static Task<LoadResult> MinuteAsync(Workload workload, double load, Proxy kedge, Site site)
    {
        var rate = Math.Max(1, workload.SoakRate * load);
        return H2load.RunAsync(
            workload,
            (int)(rate * 60),
            workload.Grpc ? kedge.GrpcTlsPort : kedge.TlsPort,
            site.Directory,
            // New connections come at once: h2load does not open another one when a rate is set.
            workload.Name == "connect" ? null : rate / workload.Connections);
    }

    /// <summary>
    /// The longest stall of any event loop in the last minute, in seconds; 0 without event loops.
    /// </summary>
    private static async Task<double> StallAsync(HttpClient client, int port)
    {
        var metrics = await client.GetStringAsync(new Uri($"http://127.0.0.1:{port}/metrics"));
        return metrics.Split('\n')
            .Where(line => line.StartsWith("kedge_loop_stall_seconds{", StringComparison.Ordinal))
            .Select(line => double.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture))
            .DefaultIfEmpty(0)
            .Max();
    }
}
