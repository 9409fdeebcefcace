using System.Buffers;
using System.Globalization;
using System.Text;
using Kedge.Domain;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Http;

/// <summary>
/// A response from kedge itself (docs/matching.md#responses-from-kedge-itself): a text body with the reason for HTTP,
/// trailers only for gRPC.
/// </summary>
/// <param name="HttpStatus">The status for HTTP; gRPC responses have 200.</param>
/// <param name="GrpcStatus">The status for gRPC.</param>
/// <param name="Type">The cause, for programs. Also a header.</param>
/// <param name="Reason">The cause, for people. Also a header.</param>
public sealed record LocalReply(int HttpStatus, GrpcStatus GrpcStatus, string Type, string Reason)
{
    private const string RateLimitedType = "rate-limited";

    public static readonly LocalReply NoRoute =
        new(502, GrpcStatus.Unimplemented, "no-route", "no route matches this request");
    public static readonly LocalReply NoGrpcRoute = NoRoute with { Reason = "unknown route to service" };
    public static readonly LocalReply GrpcNeedsHttp2 = BadRequest("gRPC requires HTTP/2") with { HttpStatus = 505 };
    public static readonly LocalReply NotGrpc = BadRequest("this port accepts gRPC only") with { HttpStatus = 415 };
    public static readonly LocalReply MalformedAuthority = BadRequest("malformed authority");
    public static readonly LocalReply AmbiguousParameters =
        BadRequest("without the path parameters (`;`), another rule would take this request");
    public static readonly LocalReply RewrittenTooLong =
        BadRequest("the rewritten URL is too long") with { HttpStatus = 414 };
    /// <summary>RFC 9110, 15.5.20: the client may send the request again on a connection for the right name.</summary>
    public static readonly LocalReply Misdirected =
        new(421, GrpcStatus.Unavailable, "misdirected", "another certificate is for this host; use another connection");
    public static readonly LocalReply ConnectNotSupported =
        BadRequest("CONNECT is not supported; send the absolute URL instead") with { HttpStatus = 405 };
    public static readonly LocalReply DeadlineExceeded =
        new(504, GrpcStatus.DeadlineExceeded, "transport-timeout", "deadline exceeded");
    /// <summary>An attempt took longer than its route allows.</summary>
    public static readonly LocalReply AttemptTimedOut =
        DeadlineExceeded with { Reason = "the backend did not respond within the time for an attempt" };
    public static readonly LocalReply Inactive =
        new(504, GrpcStatus.DeadlineExceeded, "transport-timeout", "no progress within the inactivity limit");
    /// <summary>The caller sent no byte of its request body for longer than the read timeout.</summary>
    public static readonly LocalReply RequestTimeout =
        new(408, GrpcStatus.DeadlineExceeded, "request-timeout", "the request body stopped arriving")
        {
            EndsConnection = true,
        };

    /// <summary>The caller read nothing of its response for too long. It is too late to send this reply.</summary>
    public static readonly LocalReply ResponseUnread =
        RequestTimeout with { Reason = "the caller stopped reading its response" };

    /// <summary>Answers <c>OPTIONS *</c>, which asks about the proxy itself (RFC 9110, 9.3.7).</summary>
    public static readonly LocalReply ServerOptions = new(204, GrpcStatus.OK, "", "");
    public static readonly LocalReply BrokenOff =
        new(502, GrpcStatus.Unavailable, "transport-unknown-error", "the backend closed the connection early");
    public static readonly LocalReply TooManyLookups =
        new(503, GrpcStatus.ResourceExhausted, "too-many-requests", "too many ad-hoc names are being looked up");
    public static readonly LocalReply BadRequestBody = BadFraming("the request body is malformed or incomplete");
    /// <summary>The headers of the requests in flight on one connection would exceed their limit.</summary>
    public static readonly LocalReply TooManyHeaders =
        new(503, GrpcStatus.ResourceExhausted, "too-many-requests",
            "the headers of the requests in flight on this connection take too much memory");
    public static readonly LocalReply Internal = new(500, GrpcStatus.Unknown, "internal-error", "internal error");

    private static readonly StringValues Methods = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

    // The characters that grpc-message may contain unescaped.
    private static readonly SearchValues<char> PlainText =
        SearchValues.Create(
            " !\"#$&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~");

    /// <summary>The challenge of a 401; null for other replies.</summary>
    public string? Challenge { get; init; }

    /// <summary>When the caller may try again; zero = not given.</summary>
    public TimeSpan RetryAfter { get; init; }

    /// <summary>Whether an HTTP/1.1 connection must be closed after the reply.</summary>
    public bool EndsConnection { get; init; }

    /// <summary>
    /// Whether a flood of requests causes a flood of these replies: they are not worth a log line each.
    /// </summary>
    public bool IsOfFlood => Type == RateLimitedType;

    /// <summary>Whether the reply reports a failure of the request.</summary>
    public bool IsFailure => HttpStatus >= 400;

    /// <summary>
    /// Whether replies of this type report a mistake of the caller, rather than a problem to look into.
    /// </summary>
    public static bool IsCallersMistake(string type) =>
        type is "unauthorized" or "bad-request" or "request-timeout" or "misdirected" or RateLimitedType;

    public static LocalReply BadRequest(string reason) => new(400, GrpcStatus.InvalidArgument, "bad-request", reason);

    /// <summary>Closes the connection, because it is unknown where the next request on it starts.</summary>
    public static LocalReply BadFraming(string reason) => BadRequest(reason) with { EndsConnection = true };

    /// <param name="reason">For the caller.</param>
    /// <param name="error">The error code of the challenge (RFC 6750, 3.1); empty = none.</param>
    public static LocalReply Unauthorized(string reason, string error = "") =>
        new(401, GrpcStatus.Unauthenticated, "unauthorized", reason)
        {
            Challenge = error.Length == 0
                ? "Bearer realm=\"kedge\""
                : $"Bearer realm=\"kedge\", error=\"{error}\"",
        };

    public static LocalReply Forbidden(string reason) => new(403, GrpcStatus.PermissionDenied, "unauthorized", reason);

    /// <summary>
    /// The route does not admit the caller's address. Which addresses it admits is not disclosed to the caller.
    /// </summary>
    public static LocalReply WrongNetwork { get; } = Forbidden("not from this network");

    /// <summary>
    /// The token can be neither accepted nor rejected, because the keys to verify it are not available.
    /// </summary>
    public static LocalReply AuthorizationUnavailable(string reason) =>
        new(503, GrpcStatus.Unavailable, "authorization-unavailable", reason);

    public static LocalReply NoBackend(string name) =>
        new(502, GrpcStatus.Unavailable, "no-backend", $"the route names backend {name}, which does not exist");

    public static LocalReply NoResolution(string target) =>
        new(503, GrpcStatus.Unavailable, "no-resolution-available", $"no endpoint of {target} is known");

    public static LocalReply NoConnection(string target, string detail) =>
        new(502, GrpcStatus.Unavailable, "no-connection-to-all-resolved-addresses",
            $"no endpoint of {target} accepted a connection: {detail}");

    public static LocalReply TooManyRequests(string target) =>
        new(503, GrpcStatus.ResourceExhausted, "too-many-requests",
            $"{target} has reached its limit of concurrent requests");

    /// <summary>The request has waited for a connection for as long as it may.</summary>
    public static LocalReply NoPlace(string target) =>
        new(503, GrpcStatus.ResourceExhausted, "too-many-requests",
            $"no connection to {target} took the request in time");

    public static LocalReply RateLimited(string limit, TimeSpan wait) =>
        new(429, GrpcStatus.ResourceExhausted, RateLimitedType, $"the rate limit {limit} is reached")
        {
            RetryAfter = wait,
        };

    /// <summary>Sends the reply. The response must not have started; its headers are replaced.</summary>
    /// <param name="context">The context of the request.</param>
    /// <param name="protocol">The protocol of the request.</param>
    /// <param name="requestId">Null to omit the header.</param>
    /// <param name="backendName">Null to omit the header.</param>
    /// <param name="attempts">How often the request was sent; null to omit the header.</param>
    public Task WriteAsync(
        HttpContext context, Protocol protocol, string? requestId, string? backendName, string? attempts = null)
    {
        var response = context.Response;
        var headers = response.Headers;
        var hsts = headers.StrictTransportSecurity;
        response.Clear();
        if (hsts.Count > 0)
        {
            headers.StrictTransportSecurity = hsts;
        }
        if (!IsFailure)
        {
            response.StatusCode = HttpStatus;
            headers[ProxyHeaders.RequestId] = requestId;
            headers.Allow = Methods;
            return Task.CompletedTask;
        }
        SetHeaders(headers, requestId);
        if (backendName is not null)
        {
            headers[ProxyHeaders.BackendName] = backendName;
        }
        if (attempts is not null)
        {
            headers[ProxyHeaders.Attempts] = attempts;
        }
        if (Challenge is not null)
        {
            headers.WWWAuthenticate = Challenge;
        }
        // After a refused CONNECT, the caller may have meant the bytes that follow for the tunnel.
        var isConnect = HttpMethods.IsConnect(context.Request.Method);
        if ((EndsConnection || isConnect) && !HttpProtocol.IsHttp2(context.Request.Protocol))
        {
            headers.Connection = "close";
        }
        if (protocol.IsGrpc)
        {
            // "Trailers-Only": without a body, the headers are sent with END_STREAM.
            response.StatusCode = StatusCodes.Status200OK;
            headers.ContentType = "application/grpc";
            headers[GrpcHeaders.Status] = ((int)GrpcStatus).ToString();
            headers[GrpcHeaders.Message] = PercentEncode(Reason);
            if (RetryAfter > TimeSpan.Zero)
            {
                headers[GrpcHeaders.RetryPushback] = Rounded(RetryAfter.TotalMilliseconds);
            }
            return response.CompleteAsync();
        }
        response.StatusCode = HttpStatus;
        if (RetryAfter > TimeSpan.Zero)
        {
            headers.RetryAfter = Rounded(RetryAfter.TotalSeconds);
        }
        if (isConnect)
        {
            headers.Allow = Methods;
        }
        headers.ContentType = "text/plain; charset=utf-8";
        var body = Encoding.UTF8.GetBytes(Reason + "\n");
        headers.ContentLength = body.Length;
        return HttpMethods.IsHead(context.Request.Method)
            ? Task.CompletedTask
            : response.Body.WriteAsync(body, 0, body.Length);
    }

    /// <summary>Sets the headers that every reply from kedge has.</summary>
    /// <param name="requestId">Null to omit the header.</param>
    public void SetHeaders(IHeaderDictionary headers, string? requestId)
    {
        headers[ProxyHeaders.Error] = HeaderSafe(Reason);
        headers[ProxyHeaders.ErrorType] = Type;
        if (requestId is not null)
        {
            headers[ProxyHeaders.RequestId] = requestId;
        }
    }

    /// <summary>Sets the trailers of a gRPC response that has started, instead of the backend's.</summary>
    public void SetTrailers(HttpContext context)
    {
        if (context.Features.Get<IHttpResponseTrailersFeature>()?.Trailers is { IsReadOnly: false } trailers)
        {
            trailers[GrpcHeaders.Status] = ((int)GrpcStatus).ToString();
            trailers[GrpcHeaders.Message] = PercentEncode(Reason);
        }
    }

    /// <summary>
    /// Encodes <c>grpc-message</c> (gRPC over HTTP/2, "Responses"): keeps visible ASCII and spaces except <c>%</c>, and
    /// escapes the other bytes of the UTF-8 form.
    /// </summary>
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

    private static string Rounded(double value) =>
        ((long)Math.Ceiling(value)).ToString(CultureInfo.InvariantCulture);

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
