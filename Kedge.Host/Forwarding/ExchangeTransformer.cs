using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Forwarding;

/// <summary>Copies the headers of an exchange in both directions, each in a single pass.</summary>
internal sealed class ExchangeTransformer(Exchange exchange, ForwardedHeaders forwarded) : HttpTransformer
{
    // Replaced by that of the endpoint in each attempt.
    private static readonly Uri Undecided = new("http://kedge/");

    private RequestFacts? _facts;

    public override ValueTask TransformRequestAsync(
        HttpContext httpContext,
        HttpRequestMessage proxyRequest,
        string destinationPrefix,
        CancellationToken cancellationToken)
    {
        // Step 4: the headers of the request to the endpoint.
        proxyRequest.RequestUri = Undecided;
        var incoming = httpContext.Request.Headers;
        var outgoing = proxyRequest.Headers;
        exchange.PrepareContent(proxyRequest.Content);

        var connection = incoming.Connection;
        var namesOthers = connection.Count > 0 && HeaderRules.NamesOthers(connection);
        var isTrusted = forwarded.IsTrusted(httpContext.Connection);
        foreach (var (name, values) in incoming)
        {
            switch (HeaderRules.OfRequest(name))
            {
                case HeaderAction.Drop or HeaderAction.Connection:
                    continue;
                case HeaderAction.Te:
                    // `trailers` is the only value of TE that HTTP/2 allows; gRPC servers require it.
                    if (exchange.Protocol.IsGrpc)
                    {
                        outgoing.TryAddWithoutValidation(HeaderNames.TE, "trailers");
                    }
                    continue;
                case HeaderAction.Forwarded when !isTrusted || ForwardedHeaders.Sets(name):
                    continue;
            }
            if (namesOthers && HeaderRules.IsNamedBy(connection, name))
            {
                continue;
            }
            Add(outgoing, name, values);
        }
        var record = exchange.Record;
        forwarded.Add(outgoing, httpContext, record.Authority, isTrusted);
        outgoing.TryAddWithoutValidation(ProxyHeaders.RequestId, record.RequestId);
        Tracing.Inject(record, outgoing);
        var host = exchange.Filters is { Host.Length: > 0 } rewrite ? rewrite.Host : record.Authority;
        if (host.Length > 0)
        {
            outgoing.TryAddWithoutValidation(HeaderNames.Host, host);
        }
        if (exchange.Filters is { } filters)
        {
            HeaderChanges.ApplyTo(exchange, outgoing, filters, FactsOf(httpContext));
        }
        return default;
    }

    private RequestFacts FactsOf(HttpContext context) =>
        _facts ??= HeaderChanges.FactsOf(context, exchange.Record, forwarded);

    private void Add(HttpRequestHeaders outgoing, string name, StringValues values)
    {
        if (values.Count == 1)
        {
            if (!outgoing.TryAddWithoutValidation(name, values[0]))
            {
                exchange.ContentHeaders.TryAddWithoutValidation(name, values[0]);
            }
        }
        else
        {
            string?[] all = values.ToArray();
            if (!outgoing.TryAddWithoutValidation(name, all))
            {
                exchange.ContentHeaders.TryAddWithoutValidation(name, all);
            }
        }
    }

    public override async ValueTask<bool> TransformResponseAsync(
        HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
    {
        if (proxyResponse is null)
        {
            return false;
        }
        // Step 7: the headers of the response.
        exchange.Record.FirstByte = Stopwatch.GetTimestamp();
        var response = httpContext.Response;
        CopyHeaders(proxyResponse, response.Headers);
        if (!AcceptsTrailers(httpContext))
        {
            // Trailers are sent to HTTP/2 callers only, so they are not announced to others.
            response.Headers.Remove(HeaderNames.Trailer);
        }
        response.Headers[ProxyHeaders.RequestId] = exchange.Record.RequestId;
        if (exchange.BackendName is { } backend)
        {
            response.Headers[ProxyHeaders.BackendName] = backend;
        }
        if (exchange.Filters is { } filters)
        {
            if (filters.ReverseLocation)
            {
                HeaderChanges.Reverse(
                    response.Headers, filters, httpContext.Request.Scheme, exchange.Record.Authority);
            }
            HeaderChanges.ApplyTo(response.Headers, filters, FactsOf(httpContext));
        }
        var progress = exchange.Progress;
        progress.NoteProgress();
        if (IsUpgraded(proxyResponse))
        {
            progress.IsExempt = true;
            return true;
        }

        // When the first byte of the body has not arrived yet, the headers are sent at once. When it has, or when the
        // body is empty, they are sent together with it or with the end: a trailers-only gRPC response must stay one.
        var body = proxyResponse.Content.ReadAsStream(cancellationToken);
        var first = body.ReadAsync(Memory<byte>.Empty, cancellationToken);
        if (first.IsCompletedSuccessfully)
        {
            _ = first.Result;
        }
        else
        {
            try
            {
                await response.Body.FlushAsync(cancellationToken);
                await first;
            }
            catch (OperationCanceledException) when (progress.DeadlineHasPassed)
            {
                LocalReply.DeadlineExceeded.SetTrailers(httpContext);
                return false;
            }
            catch (Exception e)
            {
                // The response has started; the forwarder does not learn here that it failed.
                exchange.BreakOff(e);
                return false;
            }
        }
        // Step 8: the forwarder copies the body, observed where there is a time limit or messages are counted.
        if (!progress.IsExempt)
        {
            proxyResponse.Content = new ResponseContent(
                proxyResponse.Content, new ResponseBody(body, progress));
        }
        else if (GrpcMessages.OfResponse(exchange.Record) is var messages
            && (messages is not null || progress.HasDeadline))
        {
            proxyResponse.Content = new ResponseContent(
                proxyResponse.Content, new GrpcResponseBody(body, httpContext, progress, messages));
        }
        return true;
    }

    public override ValueTask TransformResponseTrailersAsync(
        HttpContext httpContext, HttpResponseMessage proxyResponse, CancellationToken cancellationToken)
    {
        // Step 9: the trailers of the response.
        if (!AcceptsTrailers(httpContext))
        {
            return default;
        }
        exchange.RecordOutcome(proxyResponse.TrailingHeaders);
        if (httpContext.Features.Get<IHttpResponseTrailersFeature>()?.Trailers is { IsReadOnly: false } trailers)
        {
            foreach (var (name, values) in proxyResponse.TrailingHeaders.NonValidated)
            {
                if (HeaderRules.OfResponse(name) == HeaderAction.Pass)
                {
                    trailers[name] = Text(values);
                }
            }
        }
        return default;
    }

    // Cheaper than looking for the feature, which searches those of the connection.
    private static bool AcceptsTrailers(HttpContext context) => HttpProtocol.IsHttp2(context.Request.Protocol);

    private static void CopyHeaders(HttpResponseMessage from, IHeaderDictionary to)
    {
        var connection = default(StringValues);
        if (from.Headers.NonValidated.TryGetValues(HeaderNames.Connection, out var values))
        {
            connection = Text(values);
        }
        var namesOthers = connection.Count > 0 && HeaderRules.NamesOthers(connection);
        Copy(from.Headers, to, connection, namesOthers);
        Copy(from.Content.Headers, to, connection, namesOthers);
        // RFC 9112, 6.3: Transfer-Encoding overrides Content-Length. RFC 9110, 8.6: no length where there can be no
        // body.
        if (to.ContentLength is { } length
            && (from.Headers.NonValidated.Contains(HeaderNames.TransferEncoding)
                || (length == 0 && (int)from.StatusCode is < 200 or 204 or 205)))
        {
            to.ContentLength = null;
        }
    }

    private static void Copy(HttpHeaders from, IHeaderDictionary to, StringValues connection, bool namesOthers)
    {
        foreach (var (name, values) in from.NonValidated)
        {
            if (HeaderRules.OfResponse(name) == HeaderAction.Pass
                && !(namesOthers && HeaderRules.IsNamedBy(connection, name)))
            {
                to[name] = Text(values);
            }
        }
    }

    private static StringValues Text(HeaderStringValues values)
    {
        if (values.Count <= 1)
        {
            return values.ToString();
        }
        var all = new string[values.Count];
        var i = 0;
        foreach (var value in values)
        {
            all[i++] = value;
        }
        return all;
    }

    /// <summary>Whether it is a 101 (HTTP/1.1), or a 200 to an extended CONNECT (HTTP/2, RFC 8441).</summary>
    private static bool IsUpgraded(HttpResponseMessage response) =>
        response.StatusCode == HttpStatusCode.SwitchingProtocols
        || (response.StatusCode == HttpStatusCode.OK && response.RequestMessage?.Method == HttpMethod.Connect);
}
