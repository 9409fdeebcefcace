using Kedge.Client.Domain;

namespace Kedge.Winch.Listening;

/// <summary>How a connection came in. A feature of each connection.</summary>
/// <param name="Port">The port it came in on; 0 = a Unix domain socket.</param>
/// <param name="HasPages">Whether winch's own pages are there.</param>
/// <param name="Tunnel">The target of the CONNECT that the requests are in; null = there was none.</param>
internal sealed record Arrival(int Port, bool HasPages, Target? Tunnel);
