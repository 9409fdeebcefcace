namespace Kedge.Client;

/// <summary>How a request reaches its service: through which kedge, and with which credentials.</summary>
/// <param name="Kedge">
/// The kedge's URL; scheme, host and port count. Credentials are sent to https kedges only: a route with credentials
/// and an http URL causes an <see cref="ArgumentException"/> when a request uses it.
/// </param>
public sealed record KedgeRoute(Uri Kedge)
{
    /// <summary>Sent to the kedge as <c>Proxy-Authorization</c>; null = none.</summary>
    public ITokenSource? ProxyAuth { get; init; }

    /// <summary>
    /// Sent to the service as <c>Authorization</c>, in place of the request's own; null = the request's own.
    /// </summary>
    public ITokenSource? BackendAuth { get; init; }

    /// <summary>How the kedge is verified, and the certificate that is presented to it.</summary>
    public KedgeTls Tls { get; init; } = KedgeTls.Default;

    /// <summary>The time limit until the response begins; null = no limit for this route.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>Added to each request; they replace the request's own.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; init; } = new Dictionary<string, string>();

    internal bool HasCredentials => ProxyAuth is not null || BackendAuth is not null;
}

/// <summary>TLS to a kedge. Files are PEM, and read again when they change.</summary>
public sealed record KedgeTls
{
    /// <summary>The system's roots, the kedge's own name, no client certificate.</summary>
    public static KedgeTls Default { get; } = new();

    /// <summary>Bundles that replace the system's roots; empty = the system's.</summary>
    public IReadOnlyList<string> CaFiles { get; init; } = [];

    /// <summary>The client certificate and the intermediates behind it; null = none.</summary>
    public string? ClientCertFile { get; init; }

    /// <summary>The key of the client certificate, not encrypted.</summary>
    public string? ClientKeyFile { get; init; }

    /// <summary>The name to ask for and to verify; null = the host of the kedge's URL.</summary>
    public string? ServerName { get; init; }

    /// <summary>Accepts any certificate.</summary>
    public bool Insecure { get; init; }

    /// <inheritdoc/>
    public bool Equals(KedgeTls? other) =>
        other is not null
        && CaFiles.SequenceEqual(other.CaFiles)
        && ClientCertFile == other.ClientCertFile
        && ClientKeyFile == other.ClientKeyFile
        && ServerName == other.ServerName
        && Insecure == other.Insecure;

    /// <inheritdoc/>
    public override int GetHashCode() =>
        HashCode.Combine(string.Join('\n', CaFiles), ClientCertFile, ClientKeyFile, ServerName, Insecure);
}
