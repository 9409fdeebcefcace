using System.Net;
using System.Text;
using Kedge.Client;
using Kedge.Host.Http;

namespace Kedge.Winch.Proxying;

/// <summary>A response of winch itself.</summary>
/// <param name="Status">The status for HTTP; gRPC has 200.</param>
/// <param name="GrpcStatus">The status for gRPC.</param>
/// <param name="Type">The error for programs; also a header.</param>
/// <param name="Reason">The error for people; also a header.</param>
internal sealed record WinchError(int Status, GrpcStatus GrpcStatus, string Type, string Reason)
{
    public const string ErrorHeader = "X-Winch-Error";
    public const string TypeHeader = "X-Winch-Error-Type";

    /// <summary>The source that needs a login; null for other errors.</summary>
    public string? LoginSource { get; init; }

    public static WinchError NotAKedgeDestination(string authority) =>
        new(502, GrpcStatus.Unimplemented, "not-a-kedge-destination", $"{authority} is not a kedge destination");

    public static WinchError BadMapping(string reason) => new(502, GrpcStatus.Unknown, "bad-mapping", reason);

    public static WinchError BadRequest(string reason) => new(400, GrpcStatus.InvalidArgument, "bad-request", reason);

    public static WinchError CrossSite(string from) =>
        new(
            403,
            GrpcStatus.PermissionDenied,
            "cross-site",
            $"a page of another site ({from}) asked for this, and the route adds your credentials; "
            + "require_same_site: false on the route allows it");

    /// <summary>TLS for a route that allows no tunnel through its kedge.</summary>
    public static WinchError ConnectRefused(string authority, string route) => new(
        403, GrpcStatus.PermissionDenied, "connect-refused",
        $"{authority}: {route} does not take TLS from clients; use http:// (winch speaks TLS to the kedge), "
        + "or set the route's connect to passthrough");

    public static WinchError ProxyCredentials { get; } =
        new(
            407,
            GrpcStatus.Unauthenticated,
            "proxy-credentials",
            "this winch asks for the credentials that `winch env` prints");

    public static WinchError Itself(string authority) =>
        new(508, GrpcStatus.FailedPrecondition, "bad-request", $"{authority} is winch itself");

    /// <summary>The error for an exception of the client library or of a direct request.</summary>
    public static WinchError Of(Exception? e, string authority) => e switch
    {
        KedgeException kedge => Of(kedge),
        RejectedException rejected => Itself(rejected.Message),
        _ when e?.InnerException is { } inner => Of(inner, authority),
        _ => new(502, GrpcStatus.Unavailable, "transport-unknown-error", $"{authority}: {e?.Message ?? "no response"}"),
    };

    /// <summary>Sends the error. The response must not have started.</summary>
    /// <param name="context">The context of the request.</param>
    /// <param name="isGrpc">Whether it is a gRPC call.</param>
    /// <param name="pages">The URL of winch's own pages, for the login button.</param>
    /// <param name="returnTo">The URL that the user wanted, to return to after a login.</param>
    public Task WriteAsync(HttpContext context, bool isGrpc, string pages, string returnTo)
    {
        var response = context.Response;
        response.Clear();
        response.Headers[ErrorHeader] = HeaderSafe(Reason);
        response.Headers[TypeHeader] = Type;
        response.Headers.CacheControl = "no-store";
        if (isGrpc)
        {
            // Trailers only: the headers end the stream.
            response.ContentType = "application/grpc";
            response.Headers["grpc-status"] = ((int)GrpcStatus).ToString();
            response.Headers["grpc-message"] = LocalReply.PercentEncode(Reason);
            return response.CompleteAsync();
        }
        response.StatusCode = Status;
        if (Status == StatusCodes.Status407ProxyAuthenticationRequired)
        {
            response.Headers.ProxyAuthenticate = "Basic realm=\"winch\"";
        }
        var isPage =
            HttpMethods.IsGet(context.Request.Method)
            && context.Request.Headers.Accept.ToString().Contains("text/html");
        response.ContentType = isPage ? "text/html; charset=utf-8" : "text/plain; charset=utf-8";
        var body = Encoding.UTF8.GetBytes(isPage ? Page(pages, returnTo) : $"winch: {Reason}\n");
        response.ContentLength = body.Length;
        return HttpMethods.IsHead(context.Request.Method)
            ? Task.CompletedTask
            : response.Body.WriteAsync(body, 0, body.Length);
    }

    /// <summary>The same, for a connection that no server handles yet.</summary>
    public byte[] ToRawResponse()
    {
        var body = $"winch: {Reason}\n";
        var challenge = Status == 407 ? "Proxy-Authenticate: Basic realm=\"winch\"\r\n" : "";
        return Encoding.UTF8.GetBytes(
            $"HTTP/1.1 {Status} {Type}\r\n{ErrorHeader}: {HeaderSafe(Reason)}\r\n{TypeHeader}: {Type}\r\n{challenge}"
                + "Content-Type: text/plain; charset=utf-8\r\n"
                + $"Content-Length: {Encoding.UTF8.GetByteCount(body)}\r\nConnection: close\r\n\r\n{body}");
    }

    private string Page(string pages, string returnTo)
    {
        var login = LoginSource is null ? "" : $"""
            <form method="get" action="{WebUtility.HtmlEncode(pages)}/">
            <input type="hidden" name="login" value="{WebUtility.HtmlEncode(LoginSource)}">
            <input type="hidden" name="return_to" value="{WebUtility.HtmlEncode(returnTo)}">
            <button>Log in to {WebUtility.HtmlEncode(LoginSource)}</button></form>
            """;
        return $"""
            <!doctype html><html lang="en"><head><meta charset="utf-8"><title>winch: {Type}</title>
            <style>body {"{"} font: 16px system-ui; max-width: 40em; margin: 4em auto; padding: 0 1em {"}"}</style></head>
            <body><h1>{WebUtility.HtmlEncode(Title)}</h1><p>{WebUtility.HtmlEncode(Reason)}</p>{login}
            <p>This page is from winch on this machine, not from the site.</p></body></html>
            """;
    }

    private string Title => Type switch
    {
        "login-required" => "Login needed",
        "kedge-unreachable" => "The kedge does not answer",
        "kedge-certificate" => "The kedge cannot be trusted",
        "cross-site" => "Another site asked for this",
        _ => "The request did not get through",
    };

    private static WinchError Of(KedgeException e) =>
        e.Failure switch
        {
            KedgeFailure.BadMapping => BadMapping(e.Message),
            KedgeFailure.NotAKedgeDestination => new(
                502,
                GrpcStatus.Unimplemented,
                "not-a-kedge-destination",
                e.Message),
            KedgeFailure.LoginRequired => new(511, GrpcStatus.Unauthenticated, "login-required", e.Message)
            {
                LoginSource = e.AuthSource,
            },
            KedgeFailure.AuthSourceFailed => new(502, GrpcStatus.Internal, "auth-source-failed", e.Message),
            KedgeFailure.KedgeCertificate => new(502, GrpcStatus.Unavailable, "kedge-certificate", e.Message),
            KedgeFailure.KedgeUnreachable => new(502, GrpcStatus.Unavailable, "kedge-unreachable", e.Message),
            KedgeFailure.Timeout => new(504, GrpcStatus.DeadlineExceeded, "transport-timeout", e.Message),
            _ => new(502, GrpcStatus.Unknown, "transport-unknown-error", e.Message),
        };

    private static string HeaderSafe(string text) =>
        new([.. text.Select(c => c is >= ' ' and <= '~' ? c : '?')]);
}

/// <summary>A connection to winch itself.</summary>
internal sealed class RejectedException(string authority) : IOException(authority);
