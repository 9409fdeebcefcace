using Kedge.Host.Http;
using Kedge.Wire.Upstream;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Forwarding;

/// <summary>Decides which fields of a response are forwarded (RFC 9110, 7.6.1).</summary>
internal readonly struct ResponseFields
{
    private readonly StringValues _connection;
    private readonly bool _namesOthers;

    public ResponseFields(FieldList fields)
    {
        foreach (ref readonly var field in fields.AsSpan())
        {
            if (field.Name.Length == 10
                && field.Name.Equals(HeaderNames.Connection, StringComparison.OrdinalIgnoreCase))
            {
                _connection = StringValues.Concat(_connection, field.Value);
            }
        }
        _namesOthers = _connection.Count > 0 && HeaderRules.NamesOthers(_connection);
    }

    public bool IsForwarded(string name) =>
        HeaderRules.OfResponse(name) == HeaderAction.Pass
        && !(_namesOthers && HeaderRules.IsNamedBy(_connection, name));
}
