using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>Reports what is valid in a configuration but is most likely a mistake.</summary>
public static class ConfigurationWarnings
{
    /// <summary>A line for each warning.</summary>
    public static IEnumerable<string> Of(Configuration configuration) =>
        [.. Dangling("HTTP", configuration.HttpRoutes), .. Dangling("gRPC", configuration.GrpcRoutes)];

    private static IEnumerable<string> Dangling(string protocol, IEnumerable<RouteInfo?> routes) =>
        from route in routes
        where route is { BackendIndex: < 0 }
        select $"{route.File}:{route.Line}: the {protocol} route ({route.Rule}) refers to backend "
            + $"'{route.BackendName}', which the pool does not have";
}
