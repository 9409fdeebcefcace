using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Routing;

/// <summary>Chooses among the backends of a route that has several.</summary>
internal sealed class RouteSplitter
{
    private readonly RouteSplit _split;
    private readonly SplitChoice _choice;
    private readonly SplitKeys? _keys;
    private readonly bool _sharesUnavailable;
    private readonly SplitCounters? _counters;

    /// <param name="route">A route with several backends.</param>
    /// <param name="telemetry">Counts the requests of a named route.</param>
    public RouteSplitter(Protocol protocol, RouteInfo route, ProxyTelemetry telemetry)
    {
        _split = route.Split!;
        _choice = _split.Choice!;
        var split = _choice.Split;
        _keys = split.Key is { Value: var key } ? new SplitKeys(key) : null;
        _sharesUnavailable = split.OnUnavailable == Domain.Decoded.OnUnavailable.Others;
        _counters = route.Name.Length > 0 ? telemetry.SplitOf(protocol, route.Name) : null;
    }

    /// <summary>The name of a backend.</summary>
    public string NameOf(int choice) => _split.Names[choice];

    /// <summary>What changes in a backend's requests and in their responses; null = nothing.</summary>
    public Filters? FiltersOf(int choice) => _split.Filters[choice];

    /// <summary>The index of a backend among those of the protocol; -1 when the pool does not contain it.</summary>
    public int BackendIndexOf(int choice) => _split.BackendIndexes[choice];

    /// <summary>Chooses a backend. Usually completes synchronously, and then allocates nothing.</summary>
    /// <param name="firstLookup">Waits for the first lookup of a backend's endpoints.</param>
    /// <returns>The index of the backend in the route.</returns>
    public ValueTask<int> ChooseAsync(
        HttpContext context,
        in RequestView view,
        RequestRecord record,
        ClientAddresses clients,
        Backend[] backends,
        Func<Backend, CancellationToken, Task> firstLookup)
    {
        var hasKey = false;
        ulong value = 0;
        if (_keys is not null)
        {
            hasKey = _keys.TryHash(context, view, clients, out value);
            if (!hasKey)
            {
                _counters?.Missing();
            }
        }
        if (!hasKey)
        {
            value = (ulong)Random.Shared.NextInt64(long.MinValue, long.MaxValue);
        }
        var choice = Pick(value, hasKey, excluded: 0);
        if (_sharesUnavailable && Find(choice, backends) is { Endpoints.Endpoints.Length: 0 })
        {
            return ChooseOtherAsync(choice, value, hasKey, record, backends, firstLookup, context.RequestAborted);
        }
        Count(record, choice);
        return new(choice);
    }

    private async ValueTask<int> ChooseOtherAsync(
        int first,
        ulong value,
        bool hasKey,
        RequestRecord record,
        Backend[] backends,
        Func<Backend, CancellationToken, Task> firstLookup,
        CancellationToken cancel)
    {
        var choice = first;
        uint excluded = 0;
        while (choice >= 0 && Find(choice, backends) is { Endpoints.Endpoints.Length: 0 } backend)
        {
            if (!backend.FirstOutcome.IsCompleted)
            {
                await firstLookup(backend, cancel);
                if (backend.Endpoints.Endpoints.Length > 0)
                {
                    break;
                }
            }
            excluded |= 1u << choice;
            choice = Pick(value, hasKey, excluded);
        }
        choice = choice < 0 ? first : choice;
        Count(record, choice);
        return choice;
    }

    private int Pick(ulong value, bool hasKey, uint excluded) =>
        hasKey ? _choice.ByKey(value, excluded) : _choice.ByDraw(value, excluded);

    private Backend? Find(int choice, Backend[] backends) =>
        BackendIndexOf(choice) is >= 0 and var index ? backends[index] : null;

    private void Count(RequestRecord record, int choice)
    {
        record.ChosenBackend = NameOf(choice);
        record.Split = _counters;
    }
}
