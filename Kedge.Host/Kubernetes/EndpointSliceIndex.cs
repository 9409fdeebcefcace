using System.Net;
using Kedge.Domain;
using Kedge.Domain.Discovery;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// All endpoint slices of the cluster by their service, and the backends that want to know of them. One watch feeds it,
/// however many backends there are. A backend hears only of what changes its own endpoints.
/// </summary>
/// <param name="portsOf">The ports of a service; null when it is not known.</param>
/// <param name="portsWanted">
/// Asked when a backend of the files has a port that can be found only with the ports of a service that is not known:
/// whether it will stay unknown. While it may not, the backend is told nothing. Services of generated backends are known
/// as long as they are exposed.
/// </param>
internal sealed class EndpointSliceIndex(Func<ServiceKey, IEnumerable<ServicePort>?> portsOf, Func<bool> portsWanted) : IWatchSink<EndpointSlice>
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ServiceKey, List<Subscription>> _subscriptions = [];
    private Dictionary<ServiceKey, Dictionary<string, EndpointSlice>> _slices = [];

    // A slice's service can change.
    private Dictionary<ServiceKey, ServiceKey> _serviceOfSlice = [];
    private bool _isSynced;

    /// <summary>Tells the sink of the target's endpoints, now and whenever they change, until disposed.</summary>
    /// <param name="generated">Whether the target is that of a generated backend, where a port's name is a target port's.</param>
    public IDisposable Subscribe(K8sTarget target, bool generated, IEndpointSink sink)
    {
        var key = new ServiceKey(target.Namespace, target.Service);
        var subscription = new Subscription(this, key, target, generated, sink);
        lock (_lock)
        {
            if (!_subscriptions.TryGetValue(key, out var list))
            {
                _subscriptions[key] = list = [];
            }
            list.Add(subscription);
            if (_isSynced)
            {
                Tell(subscription);
            }
        }
        return subscription;
    }

    /// <summary>The service's ports have changed.</summary>
    public void Refresh(ServiceKey key)
    {
        lock (_lock)
        {
            TellAll(key);
        }
    }

    /// <summary>What is unknown of services stays so for now.</summary>
    public void RefreshAll()
    {
        lock (_lock)
        {
            foreach (var key in _subscriptions.Keys)
            {
                TellAll(key);
            }
        }
    }

    public void Replace(IReadOnlyList<EndpointSlice> all)
    {
        lock (_lock)
        {
            var before = _slices;
            _slices = [];
            _serviceOfSlice = [];
            foreach (var slice in all)
            {
                Put(slice);
            }
            var isFirst = !_isSynced;
            _isSynced = true;
            foreach (var key in _subscriptions.Keys)
            {
                if (isFirst || !IsSame(before.GetValueOrDefault(key), _slices.GetValueOrDefault(key)))
                {
                    TellAll(key);
                }
            }
        }
    }

    public void Upsert(EndpointSlice item)
    {
        lock (_lock)
        {
            var former = Take(item);
            var service = Put(item);
            if (former is { } other && !other.Equals(service))
            {
                TellAll(other);
            }
            if (service is { } key)
            {
                TellAll(key);
            }
        }
    }

    public void Delete(EndpointSlice item)
    {
        lock (_lock)
        {
            if (Take(item) is { } key)
            {
                TellAll(key);
            }
        }
    }

    private ServiceKey? Put(EndpointSlice slice)
    {
        if (slice.Service.Length == 0)
        {
            return null;
        }
        var key = new ServiceKey(slice.Namespace, slice.Service);
        if (!_slices.TryGetValue(key, out var slices))
        {
            _slices[key] = slices = [];
        }
        slices[slice.Name] = slice;
        _serviceOfSlice[new ServiceKey(slice.Namespace, slice.Name)] = key;
        return key;
    }

    /// <summary>Removes the slice, and yields the service that had it.</summary>
    private ServiceKey? Take(EndpointSlice slice)
    {
        if (!_serviceOfSlice.Remove(new ServiceKey(slice.Namespace, slice.Name), out var key))
        {
            return null;
        }
        if (_slices.TryGetValue(key, out var slices) && slices.Remove(slice.Name) && slices.Count == 0)
        {
            _slices.Remove(key);
        }
        return key;
    }

    private void TellAll(ServiceKey key)
    {
        if (_isSynced && _subscriptions.TryGetValue(key, out var list))
        {
            list.ForEach(Tell);
        }
    }

    private void Tell(Subscription subscription)
    {
        IEnumerable<EndpointSlice> slices = _slices.TryGetValue(subscription.Key, out var found) ? found.Values : [];
        var ports = portsOf(subscription.Key);
        var selection = EndpointSlices.select(subscription.Target.Port, subscription.Generated, ports ?? [], slices)!;
        var isPreliminary = !subscription.Generated && ports is null && !selection.PortFound && selection.OtherPorts.Length > 0
            && !portsWanted();
        if (!isPreliminary)
        {
            subscription.Tell(selection);
        }
    }

    private static bool IsSame(Dictionary<string, EndpointSlice>? left, Dictionary<string, EndpointSlice>? right) =>
        left is null || right is null
            ? ReferenceEquals(left, right)
            : left.Count == right.Count && left.All(entry => right.TryGetValue(entry.Key, out var slice) && entry.Value.Equals(slice));

    private sealed class Subscription(EndpointSliceIndex index, ServiceKey key, K8sTarget target, bool generated, IEndpointSink sink) : IDisposable
    {
        private EndpointSelection? _last;

        public ServiceKey Key => key;

        public K8sTarget Target => target;

        public bool Generated => generated;

        public void Tell(EndpointSelection selection)
        {
            if (_last is not null && selection.Equals(_last))
            {
                return;
            }
            _last = selection;
            // Found by its address; for TLS it goes by the service's name in the cluster.
            var name = $"{key.Name}.{key.Namespace}.svc";
            var endpoints = new List<ResolvedEndpoint>(selection.Endpoints.Length);
            foreach (var endpoint in selection.Endpoints)
            {
                // The API server lets nothing else through; one that did must not end the watch.
                if (IPAddress.TryParse(endpoint.Address, out var address))
                {
                    endpoints.Add(ResolvedEndpoint.Of(address, endpoint.Port, name));
                }
            }
            sink.Resolved(endpoints);
            if (!selection.PortFound && selection.OtherPorts.Length > 0)
            {
                sink.Failed($"no endpoint of service {key} has the port {Describe(target.Port)} (there are: {string.Join(", ", selection.OtherPorts)})");
            }
        }

        public void Dispose()
        {
            lock (index._lock)
            {
                if (index._subscriptions.TryGetValue(key, out var list) && list.Remove(this) && list.Count == 0)
                {
                    index._subscriptions.Remove(key);
                }
            }
        }

        private static string Describe(K8sPort port) => port switch
        {
            K8sPort.PortNumber number => number.Item.ToString(System.Globalization.CultureInfo.InvariantCulture),
            K8sPort.PortName name => $"'{name.Item}'",
            _ => "of which none is named",
        };
    }
}
