
namespace Kedge.Host.Resolvers;

/// <summary>
/// The search list of resolv.conf(5), which in a pod expands <c>svc</c> to <c>svc.namespace.svc.cluster.local</c>.
/// </summary>
internal sealed class ResolvConf(IReadOnlyList<string> search, int ndots)
{
    public static ResolvConf Read(string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            lines = [];
        }
        return Parse(lines);
    }

    public static ResolvConf Parse(IEnumerable<string> lines)
    {
        string[] search = [];
        var ndots = 1;
        foreach (var line in lines)
        {
            var words = line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            switch (words)
            {
                case ["search" or "domain", .. var domains]:
                    search = domains;
                    break;
                case ["options", .. var options]:
                    foreach (var option in options)
                    {
                        if (option.StartsWith("ndots:", StringComparison.Ordinal)
                            && int.TryParse(option.AsSpan(6), out var n))
                        {
                            ndots = Math.Clamp(n, 0, 15);
                        }
                    }
                    break;
            }
        }
        return new ResolvConf(search, ndots);
    }

    /// <summary>The absolute names to look up, in order. A name with a trailing dot is absolute already.</summary>
    public IEnumerable<string> Candidates(string name)
    {
        if (name.EndsWith('.'))
        {
            yield return name;
            yield break;
        }
        var asIsFirst = name.AsSpan().Count('.') >= ndots;
        if (asIsFirst)
        {
            yield return name + ".";
        }
        foreach (var domain in search)
        {
            yield return $"{name}.{domain.TrimEnd('.')}.";
        }
        if (!asIsFirst)
        {
            yield return name + ".";
        }
    }
}
