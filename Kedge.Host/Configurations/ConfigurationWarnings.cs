using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>Reports what is valid in a configuration but is most likely a mistake.</summary>
public static class ConfigurationWarnings
{
    /// <summary>A line for each warning.</summary>
    public static IEnumerable<string> Of(Configuration configuration) =>
        from pair in configuration.Routes.Pairs
        from route in pair.Item2
        from backend in Missing(route).Concat(MissingMirrors(route))
        select $"{route.File}:{route.Line}: the {pair.Item1.DisplayName} route ({route.Rule}) refers to backend "
            + $"'{backend}', which the pool does not have";

    private static IEnumerable<string> Missing(RouteInfo route) =>
        route.Split is { } split ? split.Names.Where((_, i) => split.BackendIndexes[i] < 0)
        : route is { BackendIndex: < 0, BackendName.Length: > 0 } ? [route.BackendName]
        : [];

    private static IEnumerable<string> MissingMirrors(RouteInfo route) =>
        from mirror in route.Mirrors ?? []
        where mirror.BackendIndex < 0
        select mirror.Choice.Mirror.Backend;
}
