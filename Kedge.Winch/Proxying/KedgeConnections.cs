using System.Collections.Concurrent;
using Kedge.Client;

namespace Kedge.Winch.Proxying;

/// <summary>The latest attempt to connect to each kedge.</summary>
internal sealed class KedgeConnections
{
    // Host names choose kedges, so their number is limited; kedges beyond the limit are not shown.
    private const int MostKedges = 256;

    private readonly ConcurrentDictionary<string, KedgeConnection> _latest = new();

    /// <summary>The latest attempts, by kedge.</summary>
    public IEnumerable<KedgeConnection> Latest =>
        _latest.Values.OrderBy(connection => connection.Kedge, StringComparer.Ordinal);

    public void Add(KedgeConnection connection)
    {
        if (_latest.Count < MostKedges || _latest.ContainsKey(connection.Kedge))
        {
            _latest[connection.Kedge] = connection;
        }
    }
}
