using Kedge.Domain;

namespace Kedge.Client;

/// <summary>
/// Decides which kedge a service is reached through. Called for each request; must be fast and thread-safe.
/// </summary>
public interface IKedgeMapper
{
    /// <summary>The route to a service; null = the request goes to the host itself, without credentials.</summary>
    /// <param name="host">The host in lower case, without port, brackets and trailing dot.</param>
    /// <param name="port">The port; 80 or 443 when the URL has none.</param>
    /// <param name="protocol">Whether the request is a gRPC call.</param>
    /// <exception cref="KedgeException">A rule matches the host but leads to no kedge.</exception>
    KedgeRoute? Map(string host, int port, Protocol protocol);
}
