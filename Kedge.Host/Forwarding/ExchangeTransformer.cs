using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Forwarding;

/// <summary>The headers of one exchange, both ways, each in a single pass.</summary>
internal sealed class ExchangeTransformer(Exchange exchange) : HttpTransformer
{
    // The endpoint's is put in place for each try.
    private static readonly Uri Undecided = new("http://kedge/");

    public override ValueTask TransformRequestAsync(
        HttpContext httpContext, HttpRequestMessage proxyRequest, string destinationPrefix, CancellationToken cancellationToken)
    {
        proxyRequest.RequestUri = Undecided;
        var incoming = httpContext.Request.Headers;
        var outgoing = proxyRequest.Headers;
        exchange.PrepareContent(proxyRequest.Content);

        var connection = incoming.Connection;
        var namesOthers = connection.Count > 0 && HeaderRules.NamesOthers(connection);
        var isTrusted = exchange.PeerIsTrusted;
        foreach (var (name, values) in incoming)
        {
            switch (HeaderRules.OfRequest(name))
            {
                case HeaderFate.Drop or HeaderFate.Connection:
                    continue;
                case HeaderFate.Te:
                    // Of what TE may say, `trailers` alone has a meaning in HTTP/2; gRPC servers ask for it.
                    if (exchange.IsGrpc)
                    {
                        outgoing.TryAddWithoutValidation(HeaderNames.TE, "trailers");
                    }
                    continue;
                case HeaderFate.Forwarded when !isTrusted || ExchangeHeaders.IsSetByKedge(name):
                    continue;
            }
            if (namesOthers && HeaderRules.IsNamedBy(connection, name))
            {
                continue;
            }
            Add(outgoing, name, values);
        }
        ExchangeHeaders.AddForwarded(outgoing, incoming, exchange, isTrusted);
        outgoing.TryAddWithoutValidation(LocalReply.RequestIdHeader, exchange.RequestId);
        if (exchange.Span is { } span)
        {
            Tracing.Inject(span, outgoing);
        }
        if (exchange.Authority.Length > 0)
        {
            outgoing.TryAddWithoutValidation(HeaderNames.Host, exchange.Authority);
        }
        return default;
    }

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
        exchange.Record.FirstByte = Stopwatch.GetTimestamp();
        var response = httpContext.Response;
        CopyHeaders(proxyResponse, response.Headers);
        if (!TakesTrailers(httpContext))
        {
            // Trailers go to HTTP/2 callers only; to others they are not announced either.
            response.Headers.Remove(HeaderNames.Trailer);
        }
        response.Headers[LocalReply.RequestIdHeader] = exchange.RequestId;
        if (exchange.BackendName is { } backend)
        {
            response.Headers[LocalReply.BackendNameHeader] = backend;
        }
        exchange.Moved();
        if (IsUpgraded(proxyResponse))
        {
            exchange.IsExemptFromInactivity = true;
            return true;
        }

        // The headers go on at once when the first byte of the body is still to come. When it is there already, or when
        // there is no body, they go with it, or with the end: a trailers-only gRPC answer must stay one.
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
            catch (OperationCanceledException) when (exchange.DeadlineHasPassed)
            {
                LocalReply.DeadlineExceeded.SetTrailers(httpContext);
                return false;
            }
            catch (Exception e)
            {
                // The response has started, and nobody but this place knows that it has failed.
                exchange.BreakOff(e);
                return false;
            }
        }
        if (!exchange.IsExemptFromInactivity)
        {
            proxyResponse.Content = new ResponseContent(proxyResponse.Content, new ResponseBody(body, exchange));
        }
        else if (exchange.HasDeadline)
        {
            proxyResponse.Content = new ResponseContent(proxyResponse.Content, new DeadlineBody(body, httpContext, exchange));
        }
        return true;
    }

    public override ValueTask TransformResponseTrailersAsync(
        HttpContext httpContext, HttpResponseMessage proxyResponse, CancellationToken cancellationToken)
    {
        if (!TakesTrailers(httpContext))
        {
            return default;
        }
        exchange.Judge(proxyResponse.TrailingHeaders);
        if (httpContext.Features.Get<IHttpResponseTrailersFeature>()?.Trailers is { IsReadOnly: false } trailers)
        {
            foreach (var (name, values) in proxyResponse.TrailingHeaders.NonValidated)
            {
                if (HeaderRules.OfResponse(name) == HeaderFate.Pass)
                {
                    trailers[name] = Text(values);
                }
            }
        }
        return default;
    }

    // To ask for the feature would cost a search through those of the connection.
    private static bool TakesTrailers(HttpContext context) => HttpProtocol.IsHttp2(context.Request.Protocol);

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
        // RFC 9112, 6.3: with both, Transfer-Encoding holds. RFC 9110, 8.6: no length where there can be no body.
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
            if (HeaderRules.OfResponse(name) == HeaderFate.Pass && !(namesOthers && HeaderRules.IsNamedBy(connection, name)))
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

    /// <summary>HTTP/1.1's 101, or a 200 to HTTP/2's extended CONNECT (RFC 8441).</summary>
    private static bool IsUpgraded(HttpResponseMessage response) =>
        response.StatusCode == HttpStatusCode.SwitchingProtocols
        || (response.StatusCode == HttpStatusCode.OK && response.RequestMessage?.Method == HttpMethod.Connect);
}
