using Kedge.Domain.Discovery;

namespace Kedge.Host.Kubernetes;

/// <summary>The ports of services, by which the name of a <c>targetPort</c> is found.</summary>
/// <param name="changed">Told of each service whose ports are new, changed or gone.</param>
/// <param name="settled">Told when <see cref="IsSettled"/> comes to hold.</param>
internal sealed class ServicePortIndex(Action<ServiceKey> changed, Action settled) : IWatchSink<Service>
{
    private readonly Lock _lock = new();
    private volatile bool _isSettled;
    private Dictionary<ServiceKey, IEnumerable<ServicePort>> _ports = [];

    /// <summary>Whether there is anything to wait for: false until the first list is in, or turns out not to be had for now.</summary>
    public bool IsSettled => _isSettled;

    public void Failed() => Settle();

    /// <summary>Null when the service is not known.</summary>
    public IEnumerable<ServicePort>? Find(ServiceKey key)
    {
        lock (_lock)
        {
            return _ports.GetValueOrDefault(key);
        }
    }

    public void Replace(IReadOnlyList<Service> all)
    {
        var next = new Dictionary<ServiceKey, IEnumerable<ServicePort>>(all.Count);
        foreach (var service in all)
        {
            next[service.Key] = service.Ports;
        }
        var news = new List<ServiceKey>();
        lock (_lock)
        {
            news.AddRange(_ports.Keys.Where(key => !next.ContainsKey(key)));
            news.AddRange(next.Where(entry => !entry.Value.Equals(_ports.GetValueOrDefault(entry.Key))).Select(entry => entry.Key));
            _ports = next;
        }
        news.ForEach(changed);
        Settle();
    }

    public void Upsert(Service item)
    {
        lock (_lock)
        {
            if (item.Ports.Equals(_ports.GetValueOrDefault(item.Key)))
            {
                return;
            }
            _ports[item.Key] = item.Ports;
        }
        changed(item.Key);
    }

    public void Delete(Service item)
    {
        lock (_lock)
        {
            _ports.Remove(item.Key);
        }
        changed(item.Key);
    }

    private void Settle()
    {
        if (!_isSettled)
        {
            _isSettled = true;
            settled();
        }
    }
}

/// <summary>Hands everything to each of several sinks.</summary>
internal sealed class ManySinks<T>(params IWatchSink<T>[] sinks) : IWatchSink<T>
{
    public void Replace(IReadOnlyList<T> all) => Array.ForEach(sinks, sink => sink.Replace(all));

    public void Upsert(T item) => Array.ForEach(sinks, sink => sink.Upsert(item));

    public void Delete(T item) => Array.ForEach(sinks, sink => sink.Delete(item));

    public void Failed() => Array.ForEach(sinks, sink => sink.Failed());
}
