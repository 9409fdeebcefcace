using System.Text;
using Kedge.Domain;
using Kedge.Host.Http;
using Microsoft.Extensions.Primitives;

namespace Kedge.Host.Routing;

/// <summary>A route's own answer, without a backend: a redirect or a fixed answer.</summary>
/// <param name="kind">The name in metrics, where other requests have the name of their backend.</param>
internal abstract class RouteAnswer(string kind)
{
    /// <summary>The name of redirects in metrics.</summary>
    public const string Redirect = "redirect";

    /// <summary>The name of fixed answers in metrics.</summary>
    public const string Respond = "respond";

    // In bytes. An unread request body makes the connection unusable for further requests, unless it is small enough to
    // be skipped.
    private const long MaxSkippedBody = 64 * 1024;

    public string Kind => kind;

    /// <summary>Sends the answer. The response must not have started.</summary>
    public Task WriteAsync(HttpContext context, string requestId)
    {
        var request = context.Request;
        var headers = context.Response.Headers;
        headers[ProxyHeaders.RequestId] = requestId;
        if (!HttpProtocol.IsHttp2(request.Protocol)
            && (request.Headers.TransferEncoding.Count > 0 || request.ContentLength > MaxSkippedBody))
        {
            headers.Connection = "close";
        }
        return WriteAsync(context);
    }

    protected abstract Task WriteAsync(HttpContext context);

    /// <summary>The answer of a route; null when it forwards requests to a backend.</summary>
    /// <param name="action">What the route does.</param>
    /// <param name="bodies">The content of the files that fixed answers name.</param>
    public static RouteAnswer? Of(RouteAction? action, IReadOnlyDictionary<string, byte[]> bodies) => action switch
    {
        RouteAction.Redirects { redirect: var redirect } => new RedirectAnswer(redirect),
        RouteAction.Responds { response: var response } => new FixedAnswer(
            response,
            response.BodyFile.Length == 0
                ? Encoding.UTF8.GetBytes(response.Body)
                : bodies.GetValueOrDefault(response.BodyFile, [])),
        RouteAction.RespondsGrpc { response: var response } => new FixedGrpcAnswer(response),
        _ => null,
    };

    /// <summary>The answer to one request.</summary>
    public virtual RouteAnswer To(in RequestView view) => this;

    private sealed class RedirectAnswer(Redirect redirect) : RouteAnswer(Redirect)
    {
        public override RouteAnswer To(in RequestView view) => new LocatedRedirect(
            redirect.Status,
            redirect.Location(
                Domain.Redirect.SchemeOf(view.Listener, view.Mode, view.Ports),
                view.Host.ToString(),
                view.Ports,
                view.Path,
                view.BareQuery.ToString()));

        protected override Task WriteAsync(HttpContext context) =>
            throw new NotSupportedException("a redirect needs the request");
    }

    private sealed class LocatedRedirect(int status, string location) : RouteAnswer(Redirect)
    {
        protected override Task WriteAsync(HttpContext context)
        {
            context.Response.StatusCode = status;
            context.Response.Headers.Location = location;
            context.Response.ContentLength = 0;
            return Task.CompletedTask;
        }
    }

    private sealed class FixedAnswer : RouteAnswer
    {
        private readonly FixedResponse _response;
        private readonly byte[] _body;
        private readonly (string Name, StringValues Value)[] _headers;

        public FixedAnswer(FixedResponse response, byte[] body)
            : base(Respond)
        {
            _response = response;
            _body = body;
            _headers = [.. response.Headers.Select(header => (header.Item1, new StringValues(header.Item2)))];
        }

        protected override Task WriteAsync(HttpContext context)
        {
            var response = context.Response;
            response.StatusCode = _response.Status;
            foreach (var (name, value) in _headers)
            {
                response.Headers[name] = value;
            }
            if (_response.RetryAfter > 0)
            {
                response.Headers.RetryAfter = _response.RetryAfter.ToString();
            }
            if (_response.ContentType.Length > 0)
            {
                response.Headers.ContentType = _response.ContentType;
            }
            // RFC 9110, 8.6: neither 204 nor 304 has a length here; 205 has the length 0 (RFC 9110, 15.3.6).
            if (_response.Status is not (StatusCodes.Status204NoContent or StatusCodes.Status304NotModified))
            {
                response.ContentLength = _body.Length;
            }
            return _body.Length == 0 || HttpMethods.IsHead(context.Request.Method)
                ? Task.CompletedTask
                : response.Body.WriteAsync(_body, 0, _body.Length);
        }
    }

    private sealed class FixedGrpcAnswer(FixedGrpcResponse answer) : RouteAnswer(Respond)
    {
        protected override Task WriteAsync(HttpContext context)
        {
            // "Trailers-Only": without a body, the headers are sent with END_STREAM.
            var response = context.Response;
            response.Headers.ContentType = "application/grpc";
            response.Headers[GrpcHeaders.Status] = ((int)answer.Status).ToString();
            if (answer.Message.Length > 0)
            {
                response.Headers[GrpcHeaders.Message] = LocalReply.PercentEncode(answer.Message);
            }
            return response.CompleteAsync();
        }
    }
}
