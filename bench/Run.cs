namespace Kedge.Bench;

/// <summary>One measured run of one proxy under one workload.</summary>
internal sealed record Sample(
    string Proxy, string Workload, double CpuMicrosecondsPerRequest, LoadResult Load, long ResidentBytes);

internal static class Run
{
    /// <summary>0 = every request of every run succeeded; 1 = some failed.</summary>
    public static async Task<int> MainAsync(RunOptions options) =>
        H2load.IsInstalled() ? await Site.WithBackendsAsync(site => RunAsync(options, site)) : 2;

    private static async Task<int> RunAsync(RunOptions options, Site site)
    {
        var proxies = new List<Proxy>();
        try
        {
            foreach (var name in options.Proxies)
            {
                if (await Proxy.StartAsync(name, options, site) is { } proxy)
                {
                    proxies.Add(proxy);
                }
                else
                {
                    Console.Error.WriteLine($"{name} is not installed; skipping it");
                }
            }

            var samples = await MeasureAsync(options, site, proxies);
            var table = Report.Render(samples, options);
            Console.WriteLine(table);
            if (options.Output is not null)
            {
                await File.WriteAllTextAsync(options.Output, table);
            }

            return samples.All(sample => sample.Load.Failed == 0) ? 0 : 1;
        }
        finally
        {
            foreach (var proxy in proxies)
            {
                await proxy.DisposeAsync();
            }
        }
    }

    private static async Task<List<Sample>> MeasureAsync(RunOptions options, Site site, List<Proxy> proxies)
    {
        var workloads = Workload.All.Where(w => options.Workloads.Contains(w.Name)).ToArray();
        var samples = new List<Sample>();

        // Round 0 is a warm-up that does not count: it opens connections and lets hot code be compiled.
        for (var round = 0; round <= options.Rounds; round++)
        {
            foreach (var workload in workloads)
            {
                foreach (var proxy in proxies)
                {
                    var requests = Math.Max(50, (int)(workload.Requests * options.Scale));
                    var before = proxy.CpuTime;
                    var load = await H2load.RunAsync(
                        workload, requests, workload.Grpc ? proxy.GrpcTlsPort : proxy.TlsPort, site.Directory);
                    var cpu = (proxy.CpuTime - before).TotalMicroseconds / requests;
                    var title = round == 0 ? "warm-up" : $"round {round}/{options.Rounds}";
                    Console.Error.WriteLine(
                        $"{title}  {workload.Name,-8}{proxy.Name,-8}{cpu,8:F1} µs/request{load.Failed,6} failed");
                    if (round > 0)
                    {
                        samples.Add(new Sample(proxy.Name, workload.Name, cpu, load, proxy.ResidentBytes));
                    }
                }
            }
        }

        return samples;
    }
}
