using System.Collections;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Wire.Transport;

/// <summary>The features of a connection: its own, and those that were set on it.</summary>
internal sealed class ConnectionFeatures(LoopConnection connection) : IFeatureCollection
{
    private readonly Dictionary<Type, object?> _set = [];

    public bool IsReadOnly => false;

    public int Revision { get; private set; }

    public object? this[Type key]
    {
        get => _set.TryGetValue(key, out var feature) ? feature
            : key.IsInstanceOfType(connection) ? connection
            : null;
        set
        {
            Revision++;
            _set[key] = value;
        }
    }

    public TFeature? Get<TFeature>() =>
        _set.TryGetValue(typeof(TFeature), out var feature) ? (TFeature?)feature
            : connection is TFeature own ? own
            : default;

    public void Set<TFeature>(TFeature? instance) => this[typeof(TFeature)] = instance;

    public IEnumerator<KeyValuePair<Type, object>> GetEnumerator()
    {
        foreach (var own in LoopConnection.OwnFeatures)
        {
            if (!_set.ContainsKey(own))
            {
                yield return new(own, connection);
            }
        }
        foreach (var (key, feature) in _set)
        {
            if (feature is not null)
            {
                yield return new(key, feature);
            }
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
