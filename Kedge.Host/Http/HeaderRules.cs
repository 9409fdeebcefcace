using System.Collections.Frozen;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Http;

/// <summary>What the proxy does with a header.</summary>
internal enum HeaderAction : byte
{
    /// <summary>Forward it unchanged.</summary>
    Pass,

    /// <summary>Do not forward it: it belongs to this hop, to kedge itself, or to the framing of the message.</summary>
    Drop,

    /// <summary>Describes the caller: forward it only when the peer is trusted.</summary>
    Forwarded,

    /// <summary>Do not forward it, nor the headers that it names.</summary>
    Connection,

    /// <summary>Do not forward it, except for the value <c>trailers</c> of a gRPC call.</summary>
    Te,

    /// <summary>Forward the length that the server has read from it.</summary>
    Length,
}

/// <summary>
/// Which headers are forwarded: RFC 9110, 7.6.1, and docs/security.md#removed-headers. The switch on the length of the
/// name comes first, so that most headers cost at most one comparison.
/// </summary>
internal static class HeaderRules
{
    private static readonly FrozenSet<string> NoTrailers = new[]
    {
        HeaderNames.Age, HeaderNames.Authorization, HeaderNames.CacheControl, HeaderNames.ContentEncoding,
        HeaderNames.ContentLength, HeaderNames.ContentRange, HeaderNames.ContentType, HeaderNames.Cookie,
        HeaderNames.Date, HeaderNames.Expect, HeaderNames.Expires, HeaderNames.Host, HeaderNames.IfMatch,
        HeaderNames.IfModifiedSince, HeaderNames.IfNoneMatch, HeaderNames.IfRange, HeaderNames.IfUnmodifiedSince,
        HeaderNames.Location, HeaderNames.MaxForwards, HeaderNames.Pragma, HeaderNames.Range, HeaderNames.RetryAfter,
        HeaderNames.SetCookie, HeaderNames.TE, HeaderNames.Trailer, HeaderNames.TransferEncoding, HeaderNames.Vary,
        HeaderNames.WWWAuthenticate,
    }.ToFrozenSet(StringComparer.OrdinalIgnoreCase);

    public static HeaderAction OfRequest(string name) =>
        name.Contains('_') && HasReservedMeaning(name.Replace('_', '-')) ? HeaderAction.Drop : OfPlainRequest(name);

    /// <summary>
    /// Gateways to CGI, WSGI and the like give `X_Forwarded_For` and `X-Forwarded-For` the same name and use the last
    /// one. So a header that is not forwarded under its own name is not forwarded under a spelling with underscores
    /// either.
    /// </summary>
    private static bool HasReservedMeaning(string name) =>
        OfPlainRequest(name) != HeaderAction.Pass
        || Is(name, HeaderNames.ContentType);

    private static HeaderAction OfPlainRequest(string name)
    {
        switch (name.Length)
        {
            case 2:
                return Is(name, HeaderNames.TE) ? HeaderAction.Te : HeaderAction.Pass;
            case 4:
                // Host is set from the request's authority.
                return Is(name, HeaderNames.Host) ? HeaderAction.Drop : HeaderAction.Pass;
            case 5:
                // CGI turns it into HTTP_PROXY, which many programs use as their own proxy.
                return Is(name, "Proxy") ? HeaderAction.Drop : HeaderAction.Pass;
            case 7:
                // Trailers are forwarded without their announcement, which is optional (RFC 9110, 6.6.2).
                return Is(name, HeaderNames.Upgrade) || Is(name, HeaderNames.Trailer)
                    ? HeaderAction.Drop
                    : HeaderAction.Pass;
            case 9:
                // RFC 7239's form of X-Forwarded-*.
                return Is(name, "Forwarded") || Is(name, "X-Real-IP") ? HeaderAction.Forwarded : ByPrefix(name);
            case 10:
                return Is(name, HeaderNames.Connection) ? HeaderAction.Connection
                    : Is(name, HeaderNames.KeepAlive) ? HeaderAction.Drop
                    : ByPrefix(name);
            case 11:
                return Is(name, "X-Client-IP") ? HeaderAction.Forwarded : ByPrefix(name);
            case 13:
                // Some frameworks route by this header or X-Original-URL instead of the target, which bypasses rules on
                // paths.
                return Is(name, "X-Rewrite-URL") ? HeaderAction.Drop : ByPrefix(name);
            case 14:
                return Is(name, HeaderNames.ContentLength) ? HeaderAction.Length
                    : Is(name, "HTTP2-Settings") || Is(name, "X-Original-URL") ? HeaderAction.Drop
                    : Is(name, "True-Client-IP") ? HeaderAction.Forwarded
                    : ByPrefix(name);
            case 15:
                return Is(name, "X-Original-Host") ? HeaderAction.Forwarded : ByPrefix(name);
            case 17:
                return Is(name, HeaderNames.TransferEncoding) ? HeaderAction.Drop : ByPrefix(name);
            default:
                return ByPrefix(name);
        }
    }

    public static HeaderAction OfResponse(string name)
    {
        switch (name.Length)
        {
            case 2:
                return Is(name, HeaderNames.TE) ? HeaderAction.Drop : HeaderAction.Pass;
            case 7:
                // Alt-Svc would make callers bypass kedge.
                return Is(name, HeaderNames.Upgrade) || Is(name, HeaderNames.AltSvc)
                    ? HeaderAction.Drop
                    : HeaderAction.Pass;
            case 10:
                return Is(name, HeaderNames.Connection) ? HeaderAction.Connection
                    : Is(name, HeaderNames.KeepAlive) ? HeaderAction.Drop
                    : HeaderAction.Pass;
            case 17:
                return Is(name, HeaderNames.TransferEncoding) ? HeaderAction.Drop : HeaderAction.Pass;
            case 18:
                return Is(name, ProxyHeaders.RequestId) || IsProxy(name) ? HeaderAction.Drop : HeaderAction.Pass;
            case 20:
                return Is(name, ProxyHeaders.BackendName) ? HeaderAction.Drop : HeaderAction.Pass;
            default:
                return IsProxy(name) ? HeaderAction.Drop : HeaderAction.Pass;
        }
    }

    /// <summary>Whether the Connection header names a header other than those that are never forwarded.</summary>
    public static bool NamesOthers(StringValues connection)
    {
        foreach (var value in connection)
        {
            for (var rest = value.AsSpan(); TryTake(ref rest, out var token);)
            {
                if (token.Length > 0
                    && !Is(token, "keep-alive") && !Is(token, "close") && !Is(token, "upgrade") && !Is(token, "te"))
                {
                    return true;
                }
            }
        }
        return false;
    }

    /// <summary>Whether the Connection header names this header.</summary>
    public static bool IsNamedBy(StringValues connection, string name)
    {
        foreach (var value in connection)
        {
            for (var rest = value.AsSpan(); TryTake(ref rest, out var token);)
            {
                if (Is(token, name))
                {
                    return true;
                }
            }
        }
        return false;
    }

    /// <summary>Whether the TE header allows trailers (RFC 9110, 10.1.4).</summary>
    public static bool AcceptsTrailers(StringValues te)
    {
        foreach (var value in te)
        {
            for (var rest = value.AsSpan(); TryTake(ref rest, out var member);)
            {
                if (Is(member, "trailers"))
                {
                    return true;
                }
            }
        }
        return false;
    }

    /// <summary>
    /// Whether a field may be sent as a trailer: not if it controls the framing, the routing, the authentication or the
    /// processing of a message, which are settled before trailers arrive (RFC 9110, 6.5.1).
    /// </summary>
    public static bool IsTrailer(string name) => !NoTrailers.Contains(name);

    /// <summary>Removes the first member of a comma-separated list.</summary>
    private static bool TryTake(ref ReadOnlySpan<char> list, out ReadOnlySpan<char> member)
    {
        var comma = list.IndexOf(',');
        member = (comma < 0 ? list : list[..comma]).Trim(" \t");
        var any = list.Length > 0;
        list = comma < 0 ? default : list[(comma + 1)..];
        return any;
    }

    private static HeaderAction ByPrefix(string name) => (name[0] | 0x20) switch
    {
        'p' => IsProxy(name) ? HeaderAction.Drop : HeaderAction.Pass,
        // Their values would pass for kedge's own.
        'x' when name.StartsWith("X-Kedge-", StringComparison.OrdinalIgnoreCase) => HeaderAction.Drop,
        'x' when name.StartsWith("X-Forwarded-", StringComparison.OrdinalIgnoreCase) =>
            // Only kedge itself, which verified the certificate, sets this one; not even a trusted peer may.
            Is(name, ProxyHeaders.ForwardedClientCert) ? HeaderAction.Drop : HeaderAction.Forwarded,
        // HTTP/2 pseudo headers.
        ':' | 0x20 => HeaderAction.Drop,
        _ => HeaderAction.Pass,
    };

    private static bool IsProxy(string name) => name.StartsWith("Proxy-", StringComparison.OrdinalIgnoreCase);

    private static bool Is(ReadOnlySpan<char> name, string other) =>
        name.Equals(other, StringComparison.OrdinalIgnoreCase);

    private static bool Is(string name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);
}
