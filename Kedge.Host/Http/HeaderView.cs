using Kedge.Domain;

namespace Kedge.Host.Http;

/// <summary>
/// A request's headers (or gRPC metadata) for the core's matchers, without a copy and without boxing.
/// </summary>
internal readonly struct HeaderView(IHeaderDictionary headers) : IHeaders
{
    public bool Has(string name, string value)
    {
        if (!headers.TryGetValue(name, out var values))
        {
            return false;
        }
        for (var i = 0; i < values.Count; i++)
        {
            if (values[i] == value)
            {
                return true;
            }
        }
        return false;
    }

    public bool HasPrefix(string name, string prefix)
    {
        if (!headers.TryGetValue(name, out var values))
        {
            return false;
        }
        for (var i = 0; i < values.Count; i++)
        {
            if (values[i]?.StartsWith(prefix, StringComparison.Ordinal) ?? prefix.Length == 0)
            {
                return true;
            }
        }
        return false;
    }
}
