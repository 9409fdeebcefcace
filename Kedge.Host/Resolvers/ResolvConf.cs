using System.Net;

namespace Kedge.Host.Resolvers;

/// <summary>
/// resolv.conf(5): the name servers, and the search list, which in a pod expands <c>svc</c> to
/// <c>svc.namespace.svc.cluster.local</c>.
/// </summary>
internal sealed class ResolvConf
{
    // The C library uses no more than this, so users do not expect more.
    private const int MaxNameServers = 3;

    private readonly IReadOnlyList<string> _search;
    private readonly int _ndots;

    private ResolvConf(IReadOnlyList<IPAddress> nameServers, IReadOnlyList<string> search, int ndots)
    {
        NameServers = nameServers;
        _search = search;
        _ndots = ndots;
    }

    public static ResolvConf Empty { get; } = Parse("");

    /// <summary>In the order of the file.</summary>
    public IReadOnlyList<IPAddress> NameServers { get; }

    public static ResolvConf Parse(string text)
    {
        var nameServers = new List<IPAddress>();
        string[] search = [];
        var ndots = 1;
        foreach (var line in text.Split('\n'))
        {
            var words = line.Split((char[])[' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);
            switch (words)
            {
                case ["nameserver", var server, ..]
                    when nameServers.Count < MaxNameServers && IPAddress.TryParse(server, out var address):
                    nameServers.Add(address);
                    break;
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
        return new ResolvConf(nameServers, search, ndots);
    }

    /// <summary>The absolute names to look up, in order. A name with a trailing dot is absolute already.</summary>
    public IEnumerable<string> Candidates(string name)
    {
        if (name.EndsWith('.'))
        {
            yield return name;
            yield break;
        }
        var asIsFirst = name.AsSpan().Count('.') >= _ndots;
        if (asIsFirst)
        {
            yield return name + ".";
        }
        foreach (var domain in _search)
        {
            yield return $"{name}.{domain.TrimEnd('.')}.";
        }
        if (!asIsFirst)
        {
            yield return name + ".";
        }
    }
}
