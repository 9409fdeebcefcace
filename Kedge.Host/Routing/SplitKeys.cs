using System.Net;
using System.Text;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Certificates;
using Kedge.Host.Http;
using SplitKey = Kedge.Domain.Decoded.SplitKey;

namespace Kedge.Host.Routing;

/// <summary>Finds the key that decides which of several backends a caller gets.</summary>
internal sealed class SplitKeys
{
    // The length of the longest IPv6 address with its scope, in characters.
    private const int MaxAddress = 65;

    private readonly SplitKey _key;
    private readonly byte[] _queryName;

    public SplitKeys(SplitKey key)
    {
        _key = key;
        _queryName = key is SplitKey.Query { name: var name } ? Encoding.UTF8.GetBytes(name) : [];
    }

    /// <summary>The hash of the key of a request. Allocates nothing for a key that is in the request itself.</summary>
    /// <returns>False when the request has no key.</returns>
    public bool TryHash(HttpContext context, in RequestView view, ClientAddresses clients, out ulong hash)
    {
        switch (_key)
        {
            case SplitKey.Cookie { name: var name }:
                return TryHashCookie(context.Request.Headers, name, out hash);
            case SplitKey.Header { name: var name }:
                return TryHash(
                    context.Request.Headers.TryGetValue(name, out var values) && values.Count > 0 ? values[0] : null,
                    out hash);
            case SplitKey.Query:
                var (start, length) = RequestKey.query(view.BareQuery, _queryName);
                hash = length > 0 ? KeyHash.ofQueryValue(view.BareQuery.Slice(start, length)) : 0;
                return length > 0;
            case { IsClientAddress: true }:
                return TryHash(clients.Of(context), out hash);
            case { IsTokenSubject: true }:
                return TryHash(RequestToken.Of(context)?.Subject, out hash);
            default:
                return TryHash(
                    context.Connection.ClientCertificate is { } own ? CertificateNames.FirstOf(own) : null, out hash);
        }
    }

    private static bool TryHashCookie(IHeaderDictionary headers, string name, out ulong hash)
    {
        foreach (var header in headers.Cookie)
        {
            var (start, length) = RequestKey.cookie(header, name);
            if (length > 0)
            {
                return TryHash(header.AsSpan(start, length), out hash);
            }
        }
        hash = 0;
        return false;
    }

    private static bool TryHash(IPAddress? address, out ulong hash)
    {
        if (address is { IsIPv4MappedToIPv6: true })
        {
            address = address.MapToIPv4();
        }
        Span<char> text = stackalloc char[MaxAddress];
        var length = 0;
        if (address?.TryFormat(text, out length) != true)
        {
            length = 0;
        }
        return TryHash(text[..length], out hash);
    }

    private static bool TryHash(ReadOnlySpan<char> text, out ulong hash)
    {
        hash = text.IsEmpty ? 0 : KeyHash.ofText(text);
        return !text.IsEmpty;
    }
}
