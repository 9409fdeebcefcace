using System.Globalization;

namespace Kedge.Bench;

/// <summary>What to measure, and for how long.</summary>
internal sealed record RunOptions(
    int Rounds,
    double Scale,
    string Kedge,
    string[] Proxies,
    string[] Workloads,
    string? Output,
    string[] KedgeFlags,
    IReadOnlyDictionary<string, string[]> Variants)
{
    public const string Help = """
        kedge-bench run [options]      CPU per request of kedge, a bare YARP forwarder, HAProxy and nginx, side by side

          kedge-bench idle [options]     seconds to the first response, and memory of idle connections, of the same;
                                         takes --kedge, --rounds, --proxies, --kedge-flag and --variant

          --kedge FILE        the kedge executable to measure (bench/run publishes one and passes it)
          --rounds N          interleaved rounds; the table shows medians (default 5)
          --scale X           multiplies the number of requests of each run (default 1; 0.02 is a quick check)
          --proxies A,B       any of kedge,bare,haproxy,nginx,caddy (default: all that are installed, but caddy)
          --workloads A,B     any of h1,h2,grpc,64k,connect,early (default: all but early, in which the backend of a
                              gRPC call answers before the end of the request)
          --kedge-flag FLAG   additional flag for kedge; can be repeated
          --variant "NAME=[VAR=VALUE …] FILE [FLAG …]"
                              another kedge, with other settings or from an earlier build; can be repeated. {http} is
                              the port of the HTTP backend, which also accepts what is sent to a collector
          --output FILE       also writes the table to this file
        """;

    public static RunOptions Parse(string[] words)
    {
        var options = new RunOptions(
            5,
            1,
            "",
            ["bare", "kedge", "haproxy", "nginx"],
            ["h1", "h2", "grpc", "64k", "connect"],
            null,
            [],
            new Dictionary<string, string[]>());
        for (var i = 0; i < words.Length; i += 2)
        {
            if (i + 1 == words.Length)
            {
                throw new ArgumentException($"{words[i]} needs a value\n{Help}");
            }

            var value = words[i + 1];
            options = words[i] switch
            {
                "--kedge" => options with { Kedge = Path.GetFullPath(value) },
                "--rounds" => options with { Rounds = int.Parse(value, CultureInfo.InvariantCulture) },
                "--scale" => options with { Scale = double.Parse(value, CultureInfo.InvariantCulture) },
                "--proxies" => options with { Proxies = value.Split(',') },
                "--workloads" => options with { Workloads = value.Split(',') },
                "--kedge-flag" => options with { KedgeFlags = [.. options.KedgeFlags, value] },
                "--variant" => options.With(value),
                "--output" => options with { Output = Path.GetFullPath(value) },
                _ => throw new ArgumentException($"unknown option {words[i]}\n{Help}"),
            };
        }

        return options.Kedge == "" && options.Proxies.Contains("kedge")
            ? throw new ArgumentException($"--kedge is missing\n{Help}")
            : options with { Proxies = [.. options.Proxies, .. options.Variants.Keys] };
    }

    private RunOptions With(string variant)
    {
        var equals = variant.IndexOf('=');
        return equals < 1
            ? throw new ArgumentException($"a variant must start with its name and `=`\n{Help}")
            : this with
            {
                Variants = new Dictionary<string, string[]>(Variants)
                {
                    [variant[..equals]] = variant[(equals + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries),
                },
            };
    }
}
