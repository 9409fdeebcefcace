using System.Net;

namespace Kedge.Host.Forwarding;

/// <summary>What the flags say about forwarding.</summary>
public sealed record ProxySettings
{
    /// <summary>How long an exchange may go without a byte of its request; zero or less = for ever.</summary>
    public TimeSpan MaxReadTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long an exchange may go without a byte of its response; zero or less = for ever.</summary>
    public TimeSpan MaxWriteTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long an endpoint that refused a connection is set aside; zero = never.</summary>
    public TimeSpan FailedTargetBackoff { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long making a connection to an endpoint, with its TLS handshake, may take.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>The peers whose <c>X-Forwarded-*</c> headers are believed.</summary>
    public IReadOnlyList<IPNetwork> TrustedProxies { get; init; } = [];

    /// <summary>Whether backends are told of the caller's verified client certificate.</summary>
    public bool ForwardClientCert { get; init; }

    /// <summary>Whether CONNECT opens tunnels where ad-hoc rules allow it.</summary>
    public bool HttpConnectEnabled { get; init; }

    /// <summary>Whether ad-hoc rules may lead to loopback, unspecified, link-local and multicast addresses.</summary>
    public bool AdhocAllowLoopback { get; init; }

    /// <summary>DNS servers; empty = those of /etc/resolv.conf.</summary>
    public IReadOnlyList<IPEndPoint> Nameservers { get; init; } = [];

    /// <summary>Whether the endpoints of each new backend go to the log.</summary>
    public bool LogResolution { get; init; }
}
