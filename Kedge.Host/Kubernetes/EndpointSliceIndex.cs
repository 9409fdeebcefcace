using System.Globalization;
using System.Net;
using Kedge.Domain;
using Kedge.Domain.Discovery;
using Kedge.Host.Resolvers;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// All endpoint slices of the cluster by service, and the backends that subscribe to them. One watch feeds it,
/// however many backends there are. A backend is notified only when its own endpoints change.
/// </summary>
/// <remarks>
/// Slices contain the numbers of target ports and the names of service ports. A backend in the configuration files may
/// use the number of a service port or the name of a target port instead, which only the service object maps. The index
/// does not notify such a backend until it knows the service's ports, or knows that they will stay unknown for now: an
/// earlier answer could be wrong. Generated backends do not wait.
/// </remarks>
/// <param name="portsOf">The ports of a service; null when they are not known.</param>
/// <param name="needPorts">
/// Called when a backend needs the ports of a service that are not known. Returns whether they will stay unknown for
/// now.
/// </param>
internal sealed class EndpointSliceIndex(Func<ServiceKey, IEnumerable<ServicePort>?> portsOf, Func<bool> needPorts)
    : IWatchSink<EndpointSlice>
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ServiceKey, List<Subscription>> _subscriptions = [];
    private Dictionary<ServiceKey, Dictionary<string, EndpointSlice>> _slices = [];

    // The service of each slice, which can change.
    private Dictionary<ServiceKey, ServiceKey> _serviceOfSlice = [];
    private bool _isSynced;

    /// <summary>Reports the target's endpoints to the sink, now and whenever they change, until disposed of.</summary>
    /// <param name="generated">
    /// Whether discovery generated the backend: if so, a port name is the name of a target port.
    /// </param>
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
                Notify(subscription);
            }
        }
        return subscription;
    }

    /// <summary>The ports of a service have changed.</summary>
    public void Refresh(ServiceKey key)
    {
        lock (_lock)
        {
            NotifyAll(key);
        }
    }

    /// <summary>Service ports that are unknown now will stay unknown for the time being.</summary>
    public void RefreshAll()
    {
        lock (_lock)
        {
            foreach (var key in _subscriptions.Keys)
            {
                NotifyAll(key);
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
                    NotifyAll(key);
                }
            }
        }
    }

    public void Upsert(EndpointSlice item)
    {
        lock (_lock)
        {
            var previous = Take(item);
            var service = Put(item);
            if (previous is { } other && !other.Equals(service))
            {
                NotifyAll(other);
            }
            if (service is { } key)
            {
                NotifyAll(key);
            }
        }
    }

    public void Delete(EndpointSlice item)
    {
        lock (_lock)
        {
            if (Take(item) is { } key)
            {
                NotifyAll(key);
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

    /// <summary>Removes the slice, and returns the service that it belonged to.</summary>
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

    private void NotifyAll(ServiceKey key)
    {
        if (_isSynced && _subscriptions.TryGetValue(key, out var list))
        {
            list.ForEach(Notify);
        }
    }

    private void Notify(Subscription subscription)
    {
        IEnumerable<EndpointSlice> slices = _slices.TryGetValue(subscription.Key, out var found) ? found.Values : [];
        var ports = portsOf(subscription.Key);
        if (subscription.IsOrphaned(ports is not null))
        {
            subscription.Lost();
            return;
        }
        var selection = EndpointSlices.select(subscription.Target.Port, subscription.Generated, ports ?? [], slices)!;
        var isPreliminary = !subscription.Generated
            && ports is null
            && selection.Fault is { IsSome: true, Value: SelectionFault.PortNotFound { available.Length: > 0 } }
            && !needPorts();
        if (!isPreliminary)
        {
            subscription.Notify(selection);
        }
    }

    private static bool IsSame(Dictionary<string, EndpointSlice>? left, Dictionary<string, EndpointSlice>? right) =>
        left is null || right is null
            ? ReferenceEquals(left, right)
            : left.Count == right.Count
                && left.All(entry => right.TryGetValue(entry.Key, out var slice) && entry.Value.Equals(slice));

    private sealed class Subscription(
        EndpointSliceIndex index, ServiceKey key, K8sTarget target, bool generated, IEndpointSink sink) : IDisposable
    {
        private EndpointSelection? _last;
        private bool _hadPorts;

        public ServiceKey Key => key;

        public K8sTarget Target => target;

        public bool Generated => generated;

        /// <summary>
        /// Whether the service of a generated backend is no longer exposed. Without the service's ports, the
        /// backend's port name could be mistaken for the name of another port.
        /// </summary>
        public bool IsOrphaned(bool hasPorts)
        {
            _hadPorts |= hasPorts;
            return generated && _hadPorts && !hasPorts;
        }

        public void Lost()
        {
            _last = null;
            sink.Missing($"service {key} is no longer exposed");
        }

        public void Notify(EndpointSelection selection)
        {
            if (_last is not null && selection.Equals(_last))
            {
                return;
            }
            _last = selection;
            if (selection.Fault is { IsSome: true, Value: var fault })
            {
                sink.Missing(Describe(fault));
                return;
            }
            // kedge connects to the address; TLS verifies the service's name in the cluster.
            var name = $"{key.Name}.{key.Namespace}.svc";
            var endpoints = new List<ResolvedEndpoint>(selection.Endpoints.Length);
            foreach (var endpoint in selection.Endpoints)
            {
                // The API server validates addresses; an invalid one must still not end the watch.
                if (IPAddress.TryParse(endpoint.Address, out var address))
                {
                    endpoints.Add(ResolvedEndpoint.Of(address, endpoint.Port, name));
                }
            }
            sink.Resolved(endpoints, selection.AreTerminating);
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

        private string Describe(SelectionFault fault) => fault switch
        {
            SelectionFault.PortNotFound { available: { Length: > 0 } available } =>
                $"no endpoint of service {key} has the port {Describe(target.Port)} "
                + $"(available: {string.Join(", ", available)})",
            SelectionFault.PortNotFound =>
                $"no endpoint of service {key} has the port {Describe(target.Port)}, or any other",
            { IsOnlyHostNames: true } =>
                $"the endpoints of service {key} are host names, which kedge does not resolve; use a host resolver",
            _ => $"service {key} has no endpoint slices: it does not exist, or it has no selector",
        };

        private static string Describe(K8sPort port) => port switch
        {
            K8sPort.PortNumber number => number.Item.ToString(CultureInfo.InvariantCulture),
            K8sPort.PortName name => $"'{name.Item}'",
            _ => "of which none is named",
        };
    }
}
