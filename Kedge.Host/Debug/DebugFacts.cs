using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Kubernetes;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>The parts of the server that the debug pages show.</summary>
public sealed class DebugFacts
{
    public required RequestRouter Router { get; init; }

    public required ConfigurationStore Store { get; init; }

    public required ProxyTelemetry Telemetry { get; init; }

    public required TrafficHistory History { get; init; }

    public required ServerHealth Health { get; init; }

    /// <summary>Null when both TLS listeners are off.</summary>
    public required CertificateStore? Certificates { get; init; }

    public required KubernetesCluster Cluster { get; init; }

    /// <summary>Null when discovery is off.</summary>
    public required DiscoveryPublisher? Discovery { get; init; }

    public DateTimeOffset Started { get; } = DateTimeOffset.UtcNow;

    /// <summary>The header of all pages.</summary>
    public ServerView Server
    {
        get
        {
            var (state, tone) = Health switch
            {
                { IsDraining: true } => ("draining", Tone.Bad),
                { IsReady: true } => ("serving", Tone.Good),
                _ => ("starting", Tone.Warning),
            };
            return new ServerView(BuildInfo.Version, state, tone, Started, DateTimeOffset.UtcNow);
        }
    }
}
