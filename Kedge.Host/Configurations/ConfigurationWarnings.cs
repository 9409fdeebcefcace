using Kedge.Domain;

namespace Kedge.Host.Configurations;

/// <summary>Reports what is valid in a configuration but is most likely a mistake.</summary>
public static class ConfigurationWarnings
{
    /// <summary>A line for each warning.</summary>
    public static IEnumerable<string> Of(Configuration configuration) =>
        from pair in configuration.Routes.Pairs
        from route in pair.Item2
        where route is { BackendIndex: < 0, BackendName.Length: > 0 }
        select $"{route.File}:{route.Line}: the {pair.Item1.DisplayName} route ({route.Rule}) refers to backend "
            + $"'{route.BackendName}', which the pool does not have";
}
