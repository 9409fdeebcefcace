using Kedge.Domain;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Wire.Upstream;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Forwarding;

/// <summary>Changes the headers of requests and responses as their route specifies.</summary>
internal static class HeaderChanges
{
    /// <summary>Collects the facts about a request that header values may refer to.</summary>
    public static RequestFacts FactsOf(HttpContext context, RequestRecord record, ForwardedHeaders forwarded) => new(
        context,
        record,
        Authority.TryParse(record.Authority, out var parts)
            ? record.Authority.Substring(parts.HostStart, parts.HostLength)
            : "",
        forwarded.ClientAddressOf(context));

    /// <summary>Changes the headers of a request to a backend, after all others are set.</summary>
    public static void ApplyTo(FieldList headers, Filters filters, RequestFacts facts)
    {
        foreach (var change in filters.RequestHeaders)
        {
            var value = ValueOf(change, facts);
            // An absent variable removes its header, so that no caller can forge what only kedge knows.
            if (value is null || !change.IsAddHeader)
            {
                headers.Remove(change.Name);
            }
            if (value is not null)
            {
                headers.Add(change.Name, value);
            }
        }
    }

    /// <summary>Changes the headers of a response to the caller, after all others are set.</summary>
    public static void ApplyTo(IHeaderDictionary headers, Filters filters, RequestFacts facts)
    {
        foreach (var change in filters.ResponseHeaders)
        {
            var value = ValueOf(change, facts);
            if (value is null)
            {
                headers.Remove(change.Name);
            }
            else if (change.IsAddHeader)
            {
                headers.Append(change.Name, value);
            }
            else
            {
                headers[change.Name] = value;
            }
        }
    }

    /// <summary>
    /// Rewrites the response headers that name the backend's own host and paths back to the caller's.
    /// </summary>
    public static void Reverse(IHeaderDictionary headers, Filters filters, string scheme, string authority)
    {
        Relocate(HeaderNames.Location);
        Relocate(HeaderNames.ContentLocation);
        if (headers.TryGetValue(HeaderNames.SetCookie, out var cookies))
        {
            headers.SetCookie = new StringValues(
                [.. cookies.Select(cookie => cookie is null ? null : ReverseLocation.cookie(filters, cookie))]);
        }

        void Relocate(string name)
        {
            if (headers.TryGetValue(name, out var values) && values.Count == 1 && values[0] is { } value)
            {
                headers[name] = ReverseLocation.location(filters, scheme, authority, value);
            }
        }
    }

    /// <summary>The value to set; null to remove the header.</summary>
    private static string? ValueOf(HeaderChange change, RequestFacts facts)
    {
        var value = change switch
        {
            HeaderChange.SetHeader set => set.value,
            HeaderChange.AddHeader add => add.value,
            _ => null,
        };
        return value?.Resolve(facts.Of) is { IsSome: true } resolved ? resolved.Value : null;
    }
}
