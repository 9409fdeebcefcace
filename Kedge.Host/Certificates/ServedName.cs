namespace Kedge.Host.Certificates;

/// <summary>What the handshake of a connection asked for and got; a feature of the connection.</summary>
/// <param name="Name">The server name that the client asked for (SNI); empty = none.</param>
/// <param name="Handshakes">The handshake counts of the certificate that it got.</param>
public sealed record ServedName(string Name, HandshakeCounts Handshakes);
