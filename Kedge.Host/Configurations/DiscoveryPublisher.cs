using Kedge.Domain;
using Kedge.Domain.Discovery;
using Kedge.Host.Kubernetes;

namespace Kedge.Host.Configurations;

/// <summary>
/// Publishes what discovery generates from the cluster's services, together with the content of the files, and logs
/// what discovery cannot use.
/// </summary>
public sealed class DiscoveryPublisher
{
    private readonly DiscoverySource _source;
    private readonly ConfigurationStore _store;
    private readonly ILogger _logger;
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Generated? _latest;
    private HashSet<string> _reported = [];

    public DiscoveryPublisher(DiscoverySource source, ConfigurationStore store, ILogger logger)
    {
        _source = source;
        _store = store;
        _logger = logger;
        source.Changed += Publish;
    }

    /// <summary>Completes once the entries of the first complete list are active.</summary>
    public Task First => _first.Task;

    /// <summary>How many services carry the label.</summary>
    public int ServiceCount => _source.ServiceCount;

    /// <summary>The active entries; null before the first complete list.</summary>
    public Generated? Latest => Volatile.Read(ref _latest);

    private void Publish()
    {
        var before = Latest;
        if (before is null || !ReferenceEquals(before, _source.Generate(_store.Files)))
        {
            _store.SetGenerated(EntriesFor);
        }
        _first.TrySetResult();
    }

    /// <summary>The entries that go with the content of the files. Called whenever either changes.</summary>
    private GeneratedEntries EntriesFor(LoadedFiles files)
    {
        var generated = _source.Generate(files);
        Volatile.Write(ref _latest, generated);
        Report(generated);
        return generated.Entries;
    }

    private void Report(Generated generated)
    {
        var reports = DiscoveryText.reports(generated);
        foreach (var report in reports.Where(report => !_reported.Contains(report)))
        {
            _logger.LogWarning("discovery: {Report}", report);
        }
        _reported = [.. reports];
    }
}
