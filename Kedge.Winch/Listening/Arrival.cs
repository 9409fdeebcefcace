using Kedge.Client.Domain;

namespace Kedge.Winch.Listening;

/// <summary>How a connection came in; a feature of each connection.</summary>
/// <param name="Port">The port it came in on; 0 = a Unix domain socket.</param>
/// <param name="HasPages">Whether winch serves its own pages there.</param>
/// <param name="Tunnel">The target of the CONNECT tunnel that carries the requests; null = no tunnel.</param>
internal sealed record Arrival(int Port, bool HasPages, Target? Tunnel);
