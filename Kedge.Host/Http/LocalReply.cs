using System.Buffers;
using System.Text;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Http;

/// <summary>
/// An answer that kedge itself gives (SPEC section 8): to an HTTP request a text body with the reason, to a gRPC call
/// trailers only. <paramref name="Type"/> is for programs, <paramref name="Reason"/> for people; both are headers, too.
/// </summary>
public sealed record LocalReply(int HttpStatus, GrpcStatus GrpcStatus, string Type, string Reason)
{
    public const string ErrorHeader = "X-Kedge-Error";
    public const string ErrorTypeHeader = "X-Kedge-Error-Type";
    public const string BackendNameHeader = "X-Kedge-Backend-Name";
    public const string RequestIdHeader = "X-Kedge-Request-ID";

    private static readonly SearchValues<char> PlainText =
        SearchValues.Create(" !\"#$&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~");

    /// <summary>The challenge of a 401; null for other answers.</summary>
    public string? Challenge { get; init; }

    /// <summary>Whether an HTTP/1.1 connection is of no further use.</summary>
    public bool EndsConnection { get; init; }

    public static readonly LocalReply NoRoute = new(502, GrpcStatus.Unimplemented, "no-route", "no route takes this request");
    public static readonly LocalReply NoGrpcRoute = NoRoute with { Reason = "unknown route to service" };
    public static readonly LocalReply GrpcNeedsHttp2 = BadRequest("gRPC needs HTTP/2") with { HttpStatus = 505 };
    public static readonly LocalReply NotGrpc = BadRequest("this port takes gRPC only") with { HttpStatus = 415 };
    public static readonly LocalReply MalformedAuthority = BadRequest("malformed authority");
    public static readonly LocalReply ConnectNotSupported = BadRequest("CONNECT is not supported; send the absolute URL instead") with { HttpStatus = 405 };
    public static readonly LocalReply DeadlineExceeded = new(504, GrpcStatus.DeadlineExceeded, "transport-timeout", "deadline exceeded");
    public static readonly LocalReply Inactive = new(504, GrpcStatus.DeadlineExceeded, "transport-timeout", "no progress within the inactivity limit");
    public static readonly LocalReply BrokenOff = new(502, GrpcStatus.Unavailable, "transport-unknown-error", "the backend broke off");
    public static readonly LocalReply BadRequestBody = BadRequest("the request body is malformed or incomplete");
    public static readonly LocalReply Internal = new(500, GrpcStatus.Unknown, "internal-error", "internal error");

    public static LocalReply BadRequest(string reason) => new(400, GrpcStatus.InvalidArgument, "bad-request", reason);

    /// <summary>Where the next request starts is anybody's guess, so there is none on this connection.</summary>
    public static LocalReply BadFraming(string reason) => BadRequest(reason) with { EndsConnection = true };

    public static LocalReply Unauthorized(string reason) =>
        new(401, GrpcStatus.Unauthenticated, "unauthorized", reason) { Challenge = "Bearer realm=\"kedge\"" };

    public static LocalReply Forbidden(string reason) => new(403, GrpcStatus.PermissionDenied, "unauthorized", reason);

    /// <summary>Neither a good nor a bad token: what it is to be verified with is not there.</summary>
    public static LocalReply AuthorizationUnavailable(string reason) =>
        new(503, GrpcStatus.Unavailable, "authorization-unavailable", reason);

    public static LocalReply NoBackend(string name) =>
        new(502, GrpcStatus.Unavailable, "no-backend", $"the route names backend {name}, which does not exist");

    public static LocalReply NoResolution(string target) =>
        new(503, GrpcStatus.Unavailable, "no-resolution-available", $"no endpoint of {target} is known");

    public static LocalReply NoConnection(string target, string detail) =>
        new(502, GrpcStatus.Unavailable, "no-connection-to-all-resolved-addresses", $"no endpoint of {target} takes a connection: {detail}");

    public static LocalReply TooManyRequests(string target) =>
        new(503, GrpcStatus.ResourceExhausted, "too-many-requests", $"{target} has as many requests under way as it may have");

    /// <summary>Writes the answer. The response must not have started; what was set on it before is cleared.</summary>
    public Task WriteAsync(HttpContext context, bool asGrpc, string? requestId, string? backendName)
    {
        var response = context.Response;
        response.Clear();
        var headers = response.Headers;
        var reason = HeaderSafe(Reason);
        headers[ErrorHeader] = reason;
        headers[ErrorTypeHeader] = Type;
        if (requestId is not null)
        {
            headers[RequestIdHeader] = requestId;
        }
        if (backendName is not null)
        {
            headers[BackendNameHeader] = backendName;
        }
        if (Challenge is not null)
        {
            headers.WWWAuthenticate = Challenge;
        }
        if (EndsConnection && !HttpProtocol.IsHttp2(context.Request.Protocol))
        {
            headers.Connection = "close";
        }
        if (asGrpc)
        {
            // Nothing is written, so that the headers go out with END_STREAM: "trailers-only".
            response.StatusCode = StatusCodes.Status200OK;
            headers.ContentType = "application/grpc";
            headers["grpc-status"] = ((int)GrpcStatus).ToString();
            headers["grpc-message"] = PercentEncode(Reason);
            return response.CompleteAsync();
        }
        response.StatusCode = HttpStatus;
        if (HttpMethods.IsConnect(context.Request.Method))
        {
            headers.Allow = new StringValues("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
        }
        headers.ContentType = "text/plain; charset=utf-8";
        var body = Encoding.UTF8.GetBytes(Reason + "\n");
        headers.ContentLength = body.Length;
        return HttpMethods.IsHead(context.Request.Method)
            ? Task.CompletedTask
            : response.Body.WriteAsync(body, 0, body.Length);
    }

    /// <summary>Sets the gRPC status behind a response that has started, in place of the backend's trailers.</summary>
    public void SetTrailers(HttpContext context)
    {
        if (context.Features.Get<IHttpResponseTrailersFeature>()?.Trailers is { IsReadOnly: false } trailers)
        {
            trailers["grpc-status"] = ((int)GrpcStatus).ToString();
            trailers["grpc-message"] = PercentEncode(Reason);
        }
    }

    /// <summary>grpc-message as the gRPC protocol wants it: visible ASCII but <c>%</c> as it is, other bytes of the UTF-8 form escaped.</summary>
    public static string PercentEncode(string text)
    {
        if (!text.AsSpan().ContainsAnyExcept(PlainText))
        {
            return text;
        }
        var encoded = new StringBuilder(text.Length + 16);
        foreach (var b in Encoding.UTF8.GetBytes(text))
        {
            if (b is >= 0x20 and < 0x7f and not (byte)'%')
            {
                encoded.Append((char)b);
            }
            else
            {
                encoded.Append('%').Append(b.ToString("X2"));
            }
        }
        return encoded.ToString();
    }

    private static string HeaderSafe(string text) =>
        text.AsSpan().ContainsAnyExceptInRange(' ', '~')
            ? string.Create(text.Length, text, static (span, source) =>
            {
                for (var i = 0; i < span.Length; i++)
                {
                    span[i] = source[i] is >= ' ' and <= '~' ? source[i] : '?';
                }
            })
            : text;
}
