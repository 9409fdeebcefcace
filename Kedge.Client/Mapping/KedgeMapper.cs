using Kedge.Client.Domain;
using Kedge.Domain;

namespace Kedge.Client;

/// <summary>Creates mappers from rules in code. <see cref="FileMapper"/> reads a mapper file.</summary>
public static class KedgeMapper
{
#pragma warning disable CA1720 // The name is that of the file's rule.
    /// <summary>Maps every service to one kedge.</summary>
    public static IKedgeMapper Single(KedgeRoute route) => new FuncMapper((_, _) => route);

    /// <summary>Maps every service to one kedge, without credentials.</summary>
    public static IKedgeMapper Single(Uri kedge) => Single(new KedgeRoute(kedge));
#pragma warning restore CA1720

    /// <summary>Maps by host, whatever the port. Other hosts are called directly.</summary>
    public static IKedgeMapper Hosts(IReadOnlyDictionary<string, KedgeRoute> routes)
    {
        ArgumentNullException.ThrowIfNull(routes);
        var byHost = routes.ToDictionary(pair => pair.Key.TrimEnd('.').ToLowerInvariant(), pair => pair.Value);
        return new FuncMapper((host, _) => byHost.GetValueOrDefault(host));
    }

    /// <summary>Maps by <c>host:port</c>. Other hosts are called directly.</summary>
    public static IKedgeMapper HostPorts(IReadOnlyDictionary<string, KedgeRoute> routes)
    {
        ArgumentNullException.ThrowIfNull(routes);
        var byAuthority = routes.ToDictionary(
            pair => Target.TryParse(pair.Key, 0, out var target) && target.Port != 0
                ? target.Authority
                : throw new ArgumentException($"'{pair.Key}' is not host:port", nameof(routes)),
            pair => pair.Value);
        return new FuncMapper((host, port) =>
            Target.TryCreate(host, port, out var target) ? byAuthority.GetValueOrDefault(target.Authority) : null);
    }

    /// <summary>
    /// Maps by the shape of the host: with the pattern <c>*.*.clusters.local</c> and the suffix
    /// <c>.clusters.example.com</c>, <c>svc.ns.us1.prod.clusters.local</c> is reached through
    /// <c>https://us1.prod.clusters.example.com</c>. Other hosts are called directly.
    /// </summary>
    /// <param name="pattern">Begins with <c>*.</c>; labels are compared from the right.</param>
    /// <param name="suffix">Begins with a dot and has two labels or more.</param>
    /// <param name="scheme">https or http.</param>
    /// <param name="port">The port of the kedges; null = 443 or 80.</param>
    /// <param name="template">Everything else about the routes; its URL is ignored.</param>
    public static IKedgeMapper Suffix(
        string pattern, string suffix, string scheme = "https", int? port = null, KedgeRoute? template = null)
    {
        if (!SuffixRule.TryCreate(pattern, suffix, scheme, port ?? 0, out var rule, out var problem))
        {
            throw new ArgumentException(problem);
        }
        var route = template ?? new KedgeRoute(new Uri("https://kedge.invalid"));
        return new FuncMapper((host, _) =>
        {
            if (!rule.IsMatch(host))
            {
                return null;
            }
            var kedge = rule.Fill(host);
            return kedge.IsOk
                ? route with { Kedge = new Uri(kedge.ResultValue.Url) }
                : throw new KedgeException(KedgeFailure.BadMapping, $"{host}: {kedge.ErrorValue}");
        });
    }

    private sealed class FuncMapper(Func<string, int, KedgeRoute?> map) : IKedgeMapper
    {
        public KedgeRoute? Map(string host, int port, Protocol protocol) => map(host, port);
    }
}
