using System.Reflection;

namespace Kedge.Host.Telemetry;

/// <summary>What this executable was built from.</summary>
public static class BuildInfo
{
    private static readonly string Informational =
        typeof(BuildInfo).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion
            ?? "unknown";

    /// <summary>Such as <c>0.1.0</c>.</summary>
    public static string Version => Informational.Split('+')[0];

    /// <summary>The commit, empty when it was not built from a repository.</summary>
    public static string Commit => Informational.Split('+') is [_, var commit] ? commit : "";
}
