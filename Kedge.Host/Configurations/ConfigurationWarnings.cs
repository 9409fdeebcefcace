using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>What is valid in a configuration but cannot be meant.</summary>
public static class ConfigurationWarnings
{
    /// <summary>A line for each.</summary>
    public static IEnumerable<string> Of(Configuration configuration) =>
        [.. Dangling("HTTP", configuration.HttpRoutes), .. Dangling("gRPC", configuration.GrpcRoutes)];

    private static IEnumerable<string> Dangling(string protocol, IEnumerable<RouteInfo?> routes) =>
        from route in routes
        where route is { BackendIndex: < 0 }
        select $"{route.File}:{route.Line}: the {protocol} route ({route.Rule}) names the backend '{route.BackendName}', "
            + "which the pool does not have";
}
