using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Kedge.Bench;

/// <summary>The results of one run of h2load. Times are in milliseconds.</summary>
/// <param name="Counts">The counts of requests and status codes that h2load printed.</param>
internal sealed record LoadResult(
    int Succeeded, int Failed, double Seconds, double P50, double P99, string Counts);

internal static partial class H2load
{
    /// <summary>Says how to install h2load if it is missing.</summary>
    public static bool IsInstalled()
    {
        if (Processes.Find("h2load") is not null)
        {
            return true;
        }

        Console.Error.WriteLine("h2load is missing: apt-get install nghttp2-client");
        return false;
    }

    /// <param name="connectionRate">Requests per second of each connection; null = as many as possible.</param>
    public static async Task<LoadResult> RunAsync(
        Workload workload, int requests, int port, string directory, double? connectionRate = null)
    {
        var log = Path.Combine(directory, $"h2load-{workload.Name}.log");
        File.Delete(log);
        var start = new ProcessStartInfo("h2load") { RedirectStandardOutput = true, RedirectStandardError = true };
        var count = requests.ToString(CultureInfo.InvariantCulture);
        foreach (var word in (string[])["-t", "1", "-n", count, "--log-file", log, .. workload.H2loadArguments])
        {
            start.ArgumentList.Add(word);
        }

        if (connectionRate is { } rate)
        {
            start.ArgumentList.Add($"--rps={rate.ToString(CultureInfo.InvariantCulture)}");
        }

        if (workload.Grpc)
        {
            start.ArgumentList.Add("-d");
            start.ArgumentList.Add(Path.Combine(directory, workload.Message));
        }

        start.ArgumentList.Add($"https://127.0.0.1:{port}{workload.Path}");
        var clock = Stopwatch.StartNew();
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        var elapsed = clock.Elapsed.TotalSeconds;

        var counts = Counts().Match(output);
        if (!counts.Success)
        {
            throw new InvalidOperationException($"h2load failed: {await errors}{output}");
        }

        var ok = int.Parse(StatusCounts().Match(output).Groups[1].Value, CultureInfo.InvariantCulture);
        var times = File.ReadLines(log)
            .Select(line => double.Parse(line.Split('\t')[2], CultureInfo.InvariantCulture) / 1000)
            .Order()
            .ToArray();
        return new LoadResult(
            ok,
            requests - ok,
            elapsed,
            times.Length == 0 ? 0 : times[times.Length / 2],
            times.Length == 0 ? 0 : times[(int)(times.Length * 0.99)],
            string.Join("; ", output.Split('\n').Where(line =>
                line.StartsWith("requests:", StringComparison.Ordinal)
                || line.StartsWith("status codes:", StringComparison.Ordinal))));
    }

    [GeneratedRegex(@"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed")]
    private static partial Regex Counts();

    [GeneratedRegex(@"status codes: (\d+) 2xx")]
    private static partial Regex StatusCounts();
}
