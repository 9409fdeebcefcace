using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace Kedge.Host.Http;

/// <summary>What becomes of a header on its way through.</summary>
internal enum HeaderFate : byte
{
    /// <summary>Goes on as it is.</summary>
    Pass,

    /// <summary>Goes no further: it belongs to this hop, to kedge itself, or to the message's framing.</summary>
    Drop,

    /// <summary>Set by kedge; the caller's is kept only from trusted peers.</summary>
    Forwarded,

    /// <summary>Names other headers that go no further.</summary>
    Connection,

    /// <summary>Goes no further, but <c>trailers</c> does for gRPC.</summary>
    Te,
}

/// <summary>
/// Which headers pass. RFC 9110, 7.6.1, and SPEC section 5. Names are told apart by their length first, so that the usual
/// header costs one comparison at most.
/// </summary>
internal static class HeaderRules
{
    public static HeaderFate OfRequest(string name) =>
        name.Contains('_') && IsWritten(name.Replace('_', '-')) ? HeaderFate.Drop : OfPlainRequest(name);

    /// <summary>
    /// Gateways to CGI, WSGI and their like know `X_Forwarded_For` and `X-Forwarded-For` by one name, and take the last: whatever
    /// would not pass under its own name does not pass under such a one either.
    /// </summary>
    private static bool IsWritten(string name) =>
        OfPlainRequest(name) != HeaderFate.Pass || Is(name, HeaderNames.ContentLength) || Is(name, HeaderNames.ContentType);

    private static HeaderFate OfPlainRequest(string name)
    {
        switch (name.Length)
        {
            case 2:
                return Is(name, HeaderNames.TE) ? HeaderFate.Te : HeaderFate.Pass;
            case 4:
                // Host is set from the request's authority.
                return Is(name, HeaderNames.Host) ? HeaderFate.Drop : HeaderFate.Pass;
            case 5:
                // CGI makes HTTP_PROXY of it, which many programs take for their own proxy.
                return Is(name, "Proxy") ? HeaderFate.Drop : HeaderFate.Pass;
            case 7:
                // Trailers of a request are not passed on, so neither is their announcement.
                return Is(name, HeaderNames.Upgrade) || Is(name, HeaderNames.Trailer) ? HeaderFate.Drop : HeaderFate.Pass;
            case 9:
                // RFC 7239's form of X-Forwarded-*.
                return Is(name, "Forwarded") ? HeaderFate.Forwarded : IsXReal(name);
            case 10:
                return Is(name, HeaderNames.Connection) ? HeaderFate.Connection
                    : Is(name, HeaderNames.KeepAlive) ? HeaderFate.Drop
                    : HeaderFate.Pass;
            case 11:
                return Is(name, "X-Client-IP") ? HeaderFate.Forwarded : Prefixed(name);
            case 13:
                // Some frameworks route by this one and X-Original-URL instead of by the target, past every rule about paths.
                return Is(name, "X-Rewrite-URL") ? HeaderFate.Drop : Prefixed(name);
            case 14:
                return Is(name, "HTTP2-Settings") || Is(name, "X-Original-URL") ? HeaderFate.Drop
                    : Is(name, "True-Client-IP") ? HeaderFate.Forwarded
                    : Prefixed(name);
            case 15:
                return Is(name, "X-Original-Host") ? HeaderFate.Forwarded : Prefixed(name);
            case 17:
                return Is(name, HeaderNames.TransferEncoding) ? HeaderFate.Drop : Prefixed(name);
            case 18:
                return Is(name, LocalReply.RequestIdHeader) ? HeaderFate.Drop : Prefixed(name);
            case 20:
                return Is(name, LocalReply.BackendNameHeader) ? HeaderFate.Drop : Prefixed(name);
            default:
                return Prefixed(name);
        }
    }

    public static HeaderFate OfResponse(string name)
    {
        switch (name.Length)
        {
            case 2:
                return Is(name, HeaderNames.TE) ? HeaderFate.Drop : HeaderFate.Pass;
            case 7:
                // Alt-Svc would send callers past kedge.
                return Is(name, HeaderNames.Upgrade) || Is(name, HeaderNames.AltSvc) ? HeaderFate.Drop : HeaderFate.Pass;
            case 10:
                return Is(name, HeaderNames.Connection) ? HeaderFate.Connection
                    : Is(name, HeaderNames.KeepAlive) ? HeaderFate.Drop
                    : HeaderFate.Pass;
            case 17:
                return Is(name, HeaderNames.TransferEncoding) ? HeaderFate.Drop : HeaderFate.Pass;
            case 18:
                return Is(name, LocalReply.RequestIdHeader) || IsProxy(name) ? HeaderFate.Drop : HeaderFate.Pass;
            case 20:
                return Is(name, LocalReply.BackendNameHeader) ? HeaderFate.Drop : HeaderFate.Pass;
            default:
                return IsProxy(name) ? HeaderFate.Drop : HeaderFate.Pass;
        }
    }

    /// <summary>Whether the Connection header names any header but those that every hop drops.</summary>
    public static bool NamesOthers(StringValues connection)
    {
        foreach (var value in connection)
        {
            for (var rest = value.AsSpan(); TryTake(ref rest, out var token);)
            {
                if (token.Length > 0 && !Is(token, "keep-alive") && !Is(token, "close") && !Is(token, "upgrade") && !Is(token, "te"))
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

    /// <summary>Takes the first member off a comma-separated list.</summary>
    private static bool TryTake(ref ReadOnlySpan<char> list, out ReadOnlySpan<char> member)
    {
        var comma = list.IndexOf(',');
        member = (comma < 0 ? list : list[..comma]).Trim(" \t");
        var any = list.Length > 0;
        list = comma < 0 ? default : list[(comma + 1)..];
        return any;
    }

    private static HeaderFate Prefixed(string name) => (name[0] | 0x20) switch
    {
        'p' => IsProxy(name) ? HeaderFate.Drop : HeaderFate.Pass,
        'x' when name.StartsWith("X-Forwarded-", StringComparison.OrdinalIgnoreCase) =>
            // The verified client's certificate is never the caller's to tell, nor a trusted peer's.
            Is(name, "X-Forwarded-Client-Cert") ? HeaderFate.Drop : HeaderFate.Forwarded,
        // HTTP/2 pseudo headers.
        ':' | 0x20 => HeaderFate.Drop,
        _ => HeaderFate.Pass,
    };

    private static HeaderFate IsXReal(string name) => Is(name, "X-Real-IP") ? HeaderFate.Forwarded : Prefixed(name);

    private static bool IsProxy(string name) => name.StartsWith("Proxy-", StringComparison.OrdinalIgnoreCase);

    private static bool Is(ReadOnlySpan<char> name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);

    private static bool Is(string name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);
}
