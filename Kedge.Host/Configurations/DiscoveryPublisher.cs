using Kedge.Domain;
using Kedge.Domain.Discovery;
using Kedge.Host.Kubernetes;

namespace Kedge.Host.Configurations;

/// <summary>
/// Brings what discovery makes of the cluster's services into force, together with what the files say, and tells in the
/// log what of it cannot be used as it is.
/// </summary>
public sealed class DiscoveryPublisher
{
    private readonly DiscoverySource _source;
    private readonly ConfigurationStore _store;
    private readonly ILogger _logger;
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Generated? _latest;
    private HashSet<string> _told = [];

    public DiscoveryPublisher(DiscoverySource source, ConfigurationStore store, ILogger logger)
    {
        _source = source;
        _store = store;
        _logger = logger;
        source.Changed += Publish;
    }

    /// <summary>Completes when what the first full list makes is in force.</summary>
    public Task First => _first.Task;

    /// <summary>How many services carry the label.</summary>
    public int ServiceCount => _source.ServiceCount;

    /// <summary>What is in force; null before the first full list.</summary>
    public Generated? Latest => Volatile.Read(ref _latest);

    private void Publish()
    {
        var files = _store.Files;
        var before = Latest;
        if (before is null || !ReferenceEquals(before, _source.Generate(files.Files)))
        {
            _store.SetGenerated(EntriesBeside);
        }
        _first.TrySetResult();
    }

    /// <summary>What goes with a content of the files, whose routes win. Called when either has changed.</summary>
    private GeneratedEntries EntriesBeside(Configuration files)
    {
        var generated = _source.Generate(files.Files);
        Volatile.Write(ref _latest, generated);
        Tell(generated);
        return generated.Entries;
    }

    private void Tell(Generated generated)
    {
        var reports = DiscoveryText.reports(generated);
        foreach (var report in reports.Where(report => !_told.Contains(report)))
        {
            _logger.LogWarning("discovery: {Report}", report);
        }
        _told = [.. reports];
    }
}
