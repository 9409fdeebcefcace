using Kedge.Domain;
using Kedge.Host.Forwarding;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Routing;

/// <summary>What routing needs to know of a request, read once. SPEC section 3.</summary>
internal readonly struct RequestView
{
    private const string GrpcContentType = "application/grpc";
    private const string GrpcWebContentType = "application/grpc-web";

    private readonly int _hostStart;
    private readonly int _hostLength;

    private RequestView(string authority, Authority parts, AuthorityPorts ports, string path, string query, bool isGrpc, bool isForward)
    {
        Authority = authority;
        _hostStart = parts.HostStart;
        _hostLength = parts.HostLength;
        Ports = ports;
        Path = path;
        Query = query;
        IsGrpc = isGrpc;
        IsForward = isForward;
    }

    /// <summary>The authority as the caller wrote it; empty when there is none.</summary>
    public string Authority { get; }

    public AuthorityPorts Ports { get; }

    /// <summary>Canonical: both matched and forwarded.</summary>
    public string Path { get; }

    /// <summary>As the caller wrote it, with its leading <c>?</c>; empty when there is none.</summary>
    public string Query { get; }

    public bool IsGrpc { get; }

    /// <summary>Whether the target was in absolute form: a forward-proxy request.</summary>
    public bool IsForward { get; }

    public ReadOnlySpan<char> Host => Authority.AsSpan(_hostStart, _hostLength);

    /// <summary>Reads the request. Not null: the answer to a request that cannot be routed.</summary>
    public static Answer? TryRead(HttpContext context, ListenerKind listener, out RequestView view)
    {
        var request = context.Request;
        var isHttp2 = request.Protocol.StartsWith("HTTP/2", StringComparison.Ordinal);
        var isGrpc = IsGrpcContentType(request.ContentType);
        view = new RequestView("", default, default, "", "", isGrpc && isHttp2, false);
        if (isGrpc && !isHttp2)
        {
            return Answer.GrpcNeedsHttp2;
        }
        if (!isGrpc && listener == ListenerKind.GrpcTls)
        {
            return Answer.NotGrpc;
        }
        if (HttpMethods.IsConnect(request.Method)
            && context.Features.Get<IHttpExtendedConnectFeature>() is not { IsExtendedConnect: true, Protocol: "websocket" })
        {
            return Answer.ConnectNotSupported;
        }

        var target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        string authority;
        string rawPath;
        string query;
        ushort schemePort = 0;
        var isForward = false;
        if (target.Length > 0 && target[0] == '/')
        {
            authority = request.Headers.Host.ToString();
            // The server has cut the target at the first question mark already: take its strings when they are verbatim.
            query = request.QueryString.Value ?? "";
            var raw = target.AsSpan(0, target.Length - query.Length);
            if (!target.EndsWith(query, StringComparison.Ordinal) || raw.Contains('?'))
            {
                var mark = target.IndexOf('?');
                query = mark < 0 ? "" : target[mark..];
                raw = target.AsSpan(0, target.Length - query.Length);
            }
            rawPath = request.Path.Value is { } path && raw.SequenceEqual(path) ? path : raw.ToString();
        }
        else if (!isHttp2 && TrySplitAbsolute(target, out authority, out rawPath, out query, out schemePort))
        {
            isForward = true;
        }
        else
        {
            return Answer.BadRequest("the request target is neither a path nor an absolute http or https URL");
        }

        var parts = default(Authority);
        AuthorityPorts ports;
        if (authority.Length == 0)
        {
            // No host is no error; a host matcher does not hold for it.
            ports = AuthorityPorts.Unspecified;
        }
        else if (!Domain.Authority.TryParse(authority, ref parts))
        {
            return Answer.MalformedAuthority;
        }
        else if (parts.Port >= 0)
        {
            ports = AuthorityPorts.Of((ushort)parts.Port);
        }
        else
        {
            ports = schemePort == 0 ? AuthorityPorts.Unspecified : AuthorityPorts.Of(schemePort);
        }

        var canonical = RequestPath.canonicalise(rawPath);
        if (canonical.IsError)
        {
            return Answer.BadRequest(canonical.ErrorValue);
        }
        view = new RequestView(authority, parts, ports, canonical.ResultValue, query, isGrpc, isForward);
        return null;
    }

    /// <summary>Whether it is gRPC, which gRPC-Web is not.</summary>
    public static bool IsGrpcContentType(string? contentType) =>
        contentType is not null
        && contentType.StartsWith(GrpcContentType, StringComparison.OrdinalIgnoreCase)
        && !contentType.StartsWith(GrpcWebContentType, StringComparison.OrdinalIgnoreCase);

    /// <summary><c>http://authority/path?query</c> in parts; the path is <c>/</c> when the target has none.</summary>
    private static bool TrySplitAbsolute(string target, out string authority, out string path, out string query, out ushort schemePort)
    {
        authority = path = query = "";
        int start;
        if (target.StartsWith("http://", StringComparison.OrdinalIgnoreCase))
        {
            start = 7;
            schemePort = 80;
        }
        else if (target.StartsWith("https://", StringComparison.OrdinalIgnoreCase))
        {
            start = 8;
            schemePort = 443;
        }
        else
        {
            schemePort = 0;
            return false;
        }
        var rest = target.AsSpan(start);
        var end = rest.IndexOfAny('/', '?');
        authority = (end < 0 ? rest : rest[..end]).ToString();
        if (authority.Length == 0)
        {
            return false;
        }
        rest = end < 0 ? "" : rest[end..];
        var mark = rest.IndexOf('?');
        query = mark < 0 ? "" : rest[mark..].ToString();
        path = (mark < 0 ? rest : rest[..mark]) is { Length: > 0 } p ? p.ToString() : "/";
        return true;
    }
}
