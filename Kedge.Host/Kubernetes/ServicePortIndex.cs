using Kedge.Domain.Discovery;

namespace Kedge.Host.Kubernetes;

/// <summary>The ports of services, which map the port that a backend names to a <c>targetPort</c>.</summary>
/// <param name="changed">Called for each service whose ports are new, changed or gone.</param>
/// <param name="settled">Called when <see cref="IsSettled"/> becomes true.</param>
internal sealed class ServicePortIndex(Action<ServiceKey> changed, Action settled) : IWatchSink<Service>
{
    private readonly Lock _lock = new();
    private volatile bool _isSettled;
    private Dictionary<ServiceKey, IEnumerable<ServicePort>> _ports = [];

    /// <summary>
    /// Whether the results of <see cref="Find"/> are final for now: false until the first list arrives or fails.
    /// </summary>
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
        var affected = new List<ServiceKey>();
        lock (_lock)
        {
            affected.AddRange(_ports.Keys.Where(key => !next.ContainsKey(key)));
            affected.AddRange(
                from entry in next
                where !entry.Value.Equals(_ports.GetValueOrDefault(entry.Key))
                select entry.Key);
            _ports = next;
        }
        affected.ForEach(changed);
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
