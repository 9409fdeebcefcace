using Kedge.Host.Certificates;

namespace Kedge.Host.Kubernetes;

/// <summary>The certificates in Secrets, kept up to date by one watch for each namespace.</summary>
internal sealed class CertificateSecrets
{
    /// <summary>The maximum number of Secrets that are used, over all namespaces.</summary>
    public const int MaxSecrets = 5000;

    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, LoadedPair> _known = new(StringComparer.Ordinal);
    private readonly Coalescer _coalescer;
    private readonly Action<LoadedSources> _publish;

    /// <param name="publish">Receives all Secrets whenever one has changed. Called by one thread at a time.</param>
    public CertificateSecrets(Action<LoadedSources> publish, TimeProvider time)
    {
        _publish = publish;
        _coalescer = new(
            TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1), time);
    }

    public Task RunAsync(CancellationToken stop) => _coalescer.RunAsync(Publish, stop);

    /// <summary>Receives the Secrets of a namespace.</summary>
    public IWatchSink<CertificateSecret> SinkOf(string space) => new Sink(this, $"secret:{space}/");

    private void Publish()
    {
        lock (_lock)
        {
            LoadedPair[] unused = [];
            if (_known.Count > MaxSecrets)
            {
                var problem = $"more than {MaxSecrets} Secrets; the last ones by name are not used";
                unused = [new("secrets", null, [new(PairFault.Unreadable, problem)])];
            }
            _publish(new(
                CertificateOrigin.Secret, [.. _known.Values.Take(MaxSecrets)], unused, static _ => null));
        }
    }

    private sealed class Sink(CertificateSecrets secrets, string prefix) : IWatchSink<CertificateSecret>
    {
        public void Replace(IReadOnlyList<CertificateSecret> all)
        {
            lock (secrets._lock)
            {
                foreach (var gone in secrets._known.Keys.Where(IsMine).ToList())
                {
                    secrets._known.Remove(gone);
                }
                foreach (var secret in all)
                {
                    secrets._known[secret.Loaded.Source] = secret.Loaded;
                }
                // Immediately, because the server becomes ready with the first lists.
                secrets.Publish();
            }
        }

        public void Upsert(CertificateSecret item)
        {
            lock (secrets._lock)
            {
                secrets._known[item.Loaded.Source] = item.Loaded;
            }
            secrets._coalescer.Signal();
        }

        public void Delete(CertificateSecret item)
        {
            lock (secrets._lock)
            {
                secrets._known.Remove(item.Loaded.Source);
            }
            secrets._coalescer.Signal();
        }

        private bool IsMine(string source) => source.StartsWith(prefix, StringComparison.Ordinal);
    }
}
