using Kedge.Domain;

namespace Kedge.Host.Telemetry;

/// <summary>
/// The counters of the routes of one name and protocol. They live as long as the process, so that they never decrease;
/// there is one for each route name that was ever configured.
/// </summary>
public sealed class RouteCounters(Protocol protocol, string name)
{
    /// <summary>The labels, allocated once.</summary>
    public KeyValuePair<string, object?>[] Labels { get; } =
        [new("protocol", protocol.Section), new("route", name)];

    public CodeCounts Codes { get; } = new(protocol);
}
