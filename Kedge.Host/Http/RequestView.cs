using Kedge.Domain;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Listener = Kedge.Domain.Decoded.Listener;
using ProxyMode = Kedge.Domain.Decoded.ProxyMode;

namespace Kedge.Host.Http;

/// <summary>
/// What routing needs to know about a request, read once (docs/security.md#which-host-a-request-is-for).
/// </summary>
internal readonly struct RequestView
{
    private const ushort HttpPort = 80;

    private readonly int _hostStart;
    private readonly int _hostLength;

    private RequestView(
        string method,
        string authority,
        Authority parts,
        AuthorityPorts ports,
        string path,
        string query,
        Protocol protocol,
        bool isForward)
    {
        Method = method;
        Authority = authority;
        _hostStart = parts.HostStart;
        _hostLength = parts.HostLength;
        Ports = ports;
        Path = path;
        Query = query;
        Protocol = protocol;
        IsForward = isForward;
    }

    /// <summary>
    /// The method that routes match: the request's own, but GET for a WebSocket over HTTP/2 (RFC 8441).
    /// </summary>
    public string Method { get; }

    /// <summary>
    /// The authority as the caller sent it, but with an IPv6 address in canonical form; empty when there is none.
    /// </summary>
    public string Authority { get; }

    public AuthorityPorts Ports { get; }

    /// <summary>The canonical path, which is both matched and forwarded.</summary>
    public string Path { get; }

    /// <summary>The query without its <c>?</c>.</summary>
    public ReadOnlySpan<char> BareQuery => Query.Length == 0 ? default : Query.AsSpan(1);

    /// <summary>The query as the caller sent it, with its leading <c>?</c>; empty when there is none.</summary>
    public string Query { get; }

    public Protocol Protocol { get; }

    /// <summary>Whether the target is in absolute form, as in requests to a forward proxy.</summary>
    public bool IsForward { get; }

    /// <summary>The proxy mode, as routes see it.</summary>
    public ProxyMode Mode => IsForward ? ProxyMode.ForwardProxy : ProxyMode.ReverseProxy;

    /// <summary>The kind of listener that the request arrived at, as routes see it.</summary>
    public Listener Listener { get; private init; }

    /// <summary>Whether this is a CONNECT request for a tunnel to the authority. It has no path.</summary>
    public bool IsTunnel { get; private init; }

    /// <summary>The authority without port and brackets; empty when there is none.</summary>
    public ReadOnlySpan<char> Host => Authority.AsSpan(_hostStart, _hostLength);

    /// <summary>Reads the request.</summary>
    /// <returns>Null on success; the reply to a request that cannot be routed.</returns>
    public static LocalReply? TryRead(HttpContext context, ListenerKind listener, out RequestView view)
    {
        var request = context.Request;
        var isHttp2 = ReferenceEquals(request.Protocol, HttpProtocol.Http2) || HttpProtocol.IsHttp2(request.Protocol);
        var isGrpc = GrpcContent.IsGrpc(request.ContentType);
        var protocol = isGrpc && isHttp2 ? Protocol.Grpc : Protocol.Http;
        view = new RequestView("", "", default, default, "", "", protocol, false);
        // The framing first: any other reply would keep the connection open, along with a request that may have been
        // smuggled behind this one.
        if (request.Headers.TransferEncoding is { Count: > 0 } coding)
        {
            if (BadTransferEncoding(request, coding) is { } reason)
            {
                return LocalReply.BadFraming(reason);
            }
            context.Features.Get<ChunkedInput>()?.BodyBegins();
        }
        if (IsMisspelledMethod(request.Method))
        {
            return LocalReply.BadRequest("method names are case-sensitive: this one is written in capitals");
        }
        if (isGrpc && !isHttp2)
        {
            return LocalReply.GrpcNeedsHttp2;
        }
        if (!isGrpc && listener == ListenerKind.GrpcTls)
        {
            return LocalReply.NotGrpc;
        }
        if (HttpMethods.IsConnect(request.Method)
            && context.Features.Get<IHttpExtendedConnectFeature>()
                is not { IsExtendedConnect: true, Protocol: "websocket" })
        {
            return TryReadConnect(context, listener, out view);
        }

        var target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        if (!RequestTarget.TryParse(target, out var form))
        {
            return LocalReply.BadRequest("the request target is neither a path nor an absolute http or https URL");
        }
        var isForward = form.Form == TargetForm.Absolute;
        if (form.Form == TargetForm.Asterisk && HttpMethods.IsOptions(request.Method))
        {
            return LocalReply.ServerOptions;
        }
        if (form.Form == TargetForm.Asterisk || (isForward && isHttp2))
        {
            // `:path` has no absolute form (RFC 9113, 8.3.1).
            return LocalReply.BadRequest("the request target is not a path");
        }

        var authority = isForward
            ? target.Substring(form.AuthorityStart, form.AuthorityLength)
            : request.Headers.Host.ToString();
        var parts = default(Authority);
        AuthorityPorts ports;
        if (TryParse(ref authority, out parts))
        {
            ports = form.PortsOf(parts);
        }
        else if (authority.Length == 0 && !isForward && (isGrpc || (!isHttp2 && request.Headers.Host.Count == 0)))
        {
            // HTTP/1.0 needs no Host, and a gRPC call may lack an authority. No host matcher matches such a request.
            ports = AuthorityPorts.Unspecified;
        }
        else
        {
            return LocalReply.MalformedAuthority;
        }

        var isClear = listener == ListenerKind.HttpClear;
        var ownScheme = isClear ? Uri.UriSchemeHttp : Uri.UriSchemeHttps;
        if (isHttp2 && !isGrpc && !string.Equals(request.Scheme, ownScheme, StringComparison.OrdinalIgnoreCase))
        {
            // A request to a forward proxy: over HTTP/1.1 it would be `http://host/path`.
            if (isClear || !string.Equals(request.Scheme, Uri.UriSchemeHttp, StringComparison.OrdinalIgnoreCase))
            {
                return LocalReply.BadRequest(
                    isClear ? "the scheme is not http" : "the scheme is neither http nor https");
            }
            isForward = true;
            ports = parts.Port < 0 ? AuthorityPorts.Of(HttpPort) : ports;
        }

        var path = form.PathLength == 0 ? "/" : Text(target, form.PathStart, form.PathLength, request.Path.Value);
        var canonical = RequestPath.canonicalise(path);
        if (canonical.IsError)
        {
            return LocalReply.BadRequest(canonical.ErrorValue);
        }
        if (isGrpc && RequestPath.hasParameters(canonical.ResultValue))
        {
            return LocalReply.BadRequest("the path has a `;`, which no gRPC method has");
        }
        var query = form.QueryLength == 0
            ? ""
            : Text(target, form.QueryStart, form.QueryLength, request.QueryString.Value);
        var method = HttpMethods.IsConnect(request.Method) ? HttpMethods.Get : request.Method;
        view = new RequestView(method, authority, parts, ports, canonical.ResultValue, query, protocol, isForward)
        {
            Listener = isClear ? Listener.Plain : Listener.Tls,
        };
        return null;
    }

    /// <summary>
    /// Reads a CONNECT request, whose target is a host and a port (RFC 9110, 9.3.6). Only HTTP/1.1 clients on the TLS
    /// listeners can open tunnels.
    /// </summary>
    private static LocalReply? TryReadConnect(HttpContext context, ListenerKind listener, out RequestView view)
    {
        view = default;
        var target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        if (!HttpProtocol.IsHttp11(context.Request.Protocol) || listener == ListenerKind.HttpClear)
        {
            return LocalReply.ConnectNotSupported;
        }
        if (!TryParse(ref target, out var parts) || parts.Port < 0)
        {
            return LocalReply.MalformedAuthority;
        }
        view = new RequestView("", target, parts, parts.Ports, "", "", Protocol.Http, isForward: true)
        {
            IsTunnel = true,
        };
        return null;
    }

    /// <summary>Reads an authority and replaces it with its canonical form.</summary>
    private static bool TryParse(ref string text, out Authority parts)
    {
        if (!Domain.Authority.TryParse(text, out parts))
        {
            return false;
        }
        var canonical = parts.Canonical(text);
        if (!ReferenceEquals(canonical, text))
        {
            text = canonical;
            return Domain.Authority.TryParse(text, out parts);
        }
        return true;
    }

    /// <summary>
    /// Checks Transfer-Encoding (RFC 9112, 6.1), more strictly than the server does: a message whose framing another
    /// hop may read differently allows request smuggling.
    /// </summary>
    /// <returns>Null when it is valid; otherwise, what is wrong.</returns>
    private static string? BadTransferEncoding(Microsoft.AspNetCore.Http.HttpRequest request, StringValues coding) =>
        !HttpProtocol.IsHttp11(request.Protocol) ? $"Transfer-Encoding in {request.Protocol}"
        // The server renames a Content-Length that comes with Transfer-Encoding to this.
        : request.Headers.ContainsKey("X-Content-Length") ? "both Content-Length and Transfer-Encoding"
        : coding.Count != 1 || !string.Equals(coding[0], "chunked", StringComparison.OrdinalIgnoreCase)
            ? "a transfer coding other than chunked"
        : null;

    /// <summary>
    /// Whether the method differs from a standard one only in case. By RFC 9110, 9.1, it is a different method, which
    /// libraries on the way would turn into the standard one.
    /// </summary>
    private static bool IsMisspelledMethod(string method)
    {
        foreach (var c in method)
        {
            if (char.IsAsciiLetterLower(c))
            {
                return !string.Equals(HttpMethods.GetCanonicalizedValue(method), method, StringComparison.Ordinal)
                    || string.Equals(method, "query", StringComparison.OrdinalIgnoreCase);
            }
        }
        return false;
    }

    /// <summary>
    /// A part of the target as a string. Returns <paramref name="existing"/>, which the server has already created, if
    /// it is equal.
    /// </summary>
    private static string Text(string target, int start, int length, string? existing)
    {
        if (length == target.Length)
        {
            return target;
        }
        var part = target.AsSpan(start, length);
        return part.SequenceEqual(existing) ? existing! : part.ToString();
    }
}
