using Kedge.Host.Certificates;
using Kedge.Host.Configurations;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>What the debug pages look at.</summary>
public sealed class DebugFacts
{
    private readonly List<Func<IEnumerable<NoticeView>>> _notices = [];
    private readonly List<Func<IEnumerable<DependencyView>>> _dependencies = [];

    public required RequestRouter Router { get; init; }

    public required ConfigurationStore Store { get; init; }

    public required ProxyTelemetry Telemetry { get; init; }

    public required ServerHealth Health { get; init; }

    public required CertificateStore? Certificates { get; init; }

    public DateTimeOffset Started { get; } = DateTimeOffset.UtcNow;

    /// <summary>What discovery and others want a person on call to know, at this moment.</summary>
    public IEnumerable<NoticeView> Notices => _notices.SelectMany(source => source());

    /// <summary>How those that kedge depends on are, at this moment.</summary>
    public IEnumerable<DependencyView> Dependencies => _dependencies.SelectMany(source => source());

    public ServerView Server => new(
        BuildInfo.Version,
        Health.IsDraining ? "draining" : Health.IsReady ? "serving" : "starting",
        Health.IsDraining ? Tone.Bad : Health.IsReady ? Tone.Good : Tone.Warning,
        Started,
        DateTimeOffset.UtcNow);

    /// <summary>Asked whenever the status page is.</summary>
    public void AddNotices(Func<IEnumerable<NoticeView>> source) => _notices.Add(source);

    /// <summary>Asked whenever the status page is.</summary>
    public void AddDependencies(Func<IEnumerable<DependencyView>> source) => _dependencies.Add(source);
}
