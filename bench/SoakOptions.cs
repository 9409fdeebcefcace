using System.Globalization;

namespace Kedge.Bench;

/// <summary>What a soak runs, and for how long.</summary>
/// <param name="Minutes">At least 1.</param>
/// <param name="Load">Multiplies the rate of requests; 1 keeps two cores about half busy.</param>
internal sealed record SoakOptions(string Kedge, int Minutes, double Load, string[] KedgeFlags)
{
    public const string Help = """
        kedge-bench soak [options]     kedge under a constant mixed load: memory, stalls and failed requests, minute by minute

          --kedge FILE        the kedge executable
          --minutes N         how long (default 60)
          --load X            multiplies the rate; 1 (the default) keeps two cores about half busy
          --kedge-flag FLAG   additional flag for kedge; can be repeated
        """;

    public static SoakOptions Parse(string[] words)
    {
        var options = new SoakOptions("", 60, 1, []);
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
                "--minutes" => options with { Minutes = int.Parse(value, CultureInfo.InvariantCulture) },
                "--load" => options with { Load = double.Parse(value, CultureInfo.InvariantCulture) },
                "--kedge-flag" => options with { KedgeFlags = [.. options.KedgeFlags, value] },
                _ => throw new ArgumentException($"unknown option {words[i]}\n{Help}"),
            };
        }

        return options switch
        {
            { Kedge: "" } => throw new ArgumentException($"--kedge is missing\n{Help}"),
            { Minutes: < 1 } => throw new ArgumentException($"--minutes must be at least 1\n{Help}"),
            { Load: not > 0 } => throw new ArgumentException($"--load must be greater than 0\n{Help}"),
            _ => options,
        };
    }
}
