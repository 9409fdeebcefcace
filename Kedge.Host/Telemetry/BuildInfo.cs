using System.Reflection;

namespace Kedge.Host.Telemetry;

/// <summary>The version and commit that this executable was built from.</summary>
public static class BuildInfo
{
    private static readonly string Informational =
        typeof(BuildInfo).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion
        ?? "unknown";

    /// <summary>The version, such as <c>0.1.0</c>.</summary>
    public static string Version => Informational.Split('+')[0];

    /// <summary>The commit; empty when the build was not in a repository.</summary>
    public static string Commit => Informational.Split('+') is [_, var commit] ? commit : "";
}
