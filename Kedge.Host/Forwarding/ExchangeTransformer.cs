using System.Diagnostics;
using System.Net;
using Kedge.Host.Authorization;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Host.Telemetry;
using Kedge.Wire.Upstream;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Forwarding;

/// <summary>Copies the headers of an exchange in both directions, each in a single pass.</summary>
internal sealed class ExchangeTransformer(Exchange exchange, ForwardedHeaders forwarded) : HttpTransformer
{
    // Not used: the exchange knows where to send the request.
    private static readonly Uri Unused = new("http://kedge/");

    private RequestFacts? _facts;

    public override ValueTask TransformRequestAsync(
        HttpContext httpContext,
        HttpRequestMessage proxyRequest,
        string destinationPrefix,
        CancellationToken cancellationToken)
    {
        // Step 4: the headers of the request to the endpoint.
        proxyRequest.RequestUri = Unused;
        var incoming = httpContext.Request.Headers;
        var request = exchange.Prepare(proxyRequest);
        var outgoing = request.Fields;

        var connection = incoming.Connection;
        var namesOthers = connection.Count > 0 && HeaderRules.NamesOthers(connection);
        var isTrusted = forwarded.IsTrusted(httpContext.Connection);
        var claims = exchange.Claims;
        var token = claims is null ? null : RequestToken.Of(httpContext);
        foreach (var (name, values) in incoming)
        {
            switch (HeaderRules.OfRequest(name))
            {
                case HeaderAction.Drop or HeaderAction.Connection or HeaderAction.Length:
                    continue;
                case HeaderAction.Te:
                    // `trailers` is the only value of TE that HTTP/2 allows; gRPC servers require it.
                    if (exchange.Protocol.IsGrpc)
                    {
                        outgoing.Add(HeaderNames.TE, "trailers");
                    }
                    continue;
                case HeaderAction.Forwarded when !isTrusted || ForwardedHeaders.Sets(name):
                    continue;
            }
            if (namesOthers && HeaderRules.IsNamedBy(connection, name))
            {
                continue;
            }
            if (claims?.Drops(name, token) == true)
            {
                continue;
            }
            foreach (var value in values)
            {
                outgoing.Add(name, value ?? "");
            }
        }
        if (token is not null)
        {
            claims?.AddTo(outgoing, token);
        }
        var record = exchange.Record;
        forwarded.Add(outgoing, httpContext, record.Authority, isTrusted);
        outgoing.Add(ProxyHeaders.RequestId, record.RequestId);
        Tracing.Inject(record, outgoing);
        if (exchange.Filters is { } changes)
        {
            HeaderChanges.ApplyTo(outgoing, changes, FactsOf(httpContext));
        }
        if (exchange.Mirrors is { } mirrors && !exchange.IsUpgrade)
        {
            mirrors.Begin(request, record);
        }
        if (exchange.IsUpgrade && outgoing.TryGet(HeaderNames.SecWebSocketKey, out var key))
        {
            // The forwarder looks for a key here before it generates one.
            proxyRequest.Headers.TryAddWithoutValidation(HeaderNames.SecWebSocketKey, key);
        }
        return default;
    }

    private RequestFacts FactsOf(HttpContext context) =>
        _facts ??= HeaderChanges.FactsOf(context, exchange.Record, forwarded);

    public override async ValueTask<bool> TransformResponseAsync(
        HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
    {
        if (proxyResponse is not UpstreamResponse upstream)
        {
            return false;
        }
        // Step 7: the headers of the response.
        exchange.Record.FirstByte = Stopwatch.GetTimestamp();
        var response = httpContext.Response;
        CopyHeaders(upstream, response.Headers);
        // Only where it applies (RFC 9110, 8.6), and not for gRPC, where kedge may have to end the response early.
        response.Headers.ContentLength = exchange.Protocol.IsGrpc ? null : upstream.ContentLength;
        response.Headers[ProxyHeaders.RequestId] = exchange.Record.RequestId;
        if (exchange.ReportedAttempts is { } attempts)
        {
            response.Headers[ProxyHeaders.Attempts] = attempts;
        }
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
        if (upstream.StatusCode == HttpStatusCode.SwitchingProtocols)
        {
            progress.IsExempt = true;
            exchange.EndTimeouts();
            return true;
        }
        var sendsTrailers = PrepareTrailers(httpContext, upstream);

        // If the first byte of the body has not arrived yet, the headers are sent at once. If it has, or if the body is
        // empty, they are sent together with it or with the end: a trailers-only gRPC response must stay one.
        var body = upstream.Content.ReadAsStream(cancellationToken);
        var first = body.ReadAsync(Memory<byte>.Empty, cancellationToken);
        if (first.IsCompleted)
        {
            // Throws if the body has already failed; in that case, nothing was sent to the caller.
            _ = first.Result;
        }
        else
        {
            try
            {
                await response.Body.FlushAsync(cancellationToken);
                await first;
            }
            catch (Exception e) when (exchange.Protocol.IsGrpc && exchange.TryEndInTrailers(httpContext, e))
            {
                return false;
            }
            catch (Exception e)
            {
                // The response has started; the forwarder does not notice here that it failed.
                exchange.BreakOff(e);
                return false;
            }
        }
        if (sendsTrailers)
        {
            response.Body = new ChunkedResponseBody(response.Body);
        }
        // Step 8: the forwarder copies the body through a stream that observes it.
        upstream.Content = new ResponseContent(
            upstream.Content,
            exchange.Protocol.IsGrpc
                ? new GrpcResponseBody(body, httpContext, exchange, GrpcMessages.OfResponse(exchange.Record))
                : new ResponseBody(body, httpContext, exchange));
        return true;
    }

    public override ValueTask TransformResponseTrailersAsync(
        HttpContext httpContext, HttpResponseMessage proxyResponse, CancellationToken cancellationToken)
    {
        // Step 9: the trailers of the response.
        if (exchange.IsCut)
        {
            return default;
        }
        exchange.HasResponded = true;
        var ended = EndResponseAsync(httpContext, ((UpstreamResponse)proxyResponse).Trailers, cancellationToken);
        return exchange.IsSendingRequest ? CompleteAsync(ended, httpContext.Response) : ended;
    }

    /// <summary>Ends the response before the request has ended, so that the caller need not wait for that.</summary>
    private static async ValueTask CompleteAsync(ValueTask ended, HttpResponse response)
    {
        await ended;
        await response.CompleteAsync();
    }

    private ValueTask EndResponseAsync(HttpContext httpContext, FieldList? fields, CancellationToken cancellationToken)
    {
        if (httpContext.Response.Body is ChunkedResponseBody chunked)
        {
            return chunked.EndAsync(fields, cancellationToken);
        }
        if (fields is null || !HttpProtocol.IsHttp2(httpContext.Request.Protocol))
        {
            return default;
        }
        exchange.RecordOutcome(fields);
        if (httpContext.Features.Get<IHttpResponseTrailersFeature>()?.Trailers is { IsReadOnly: false } trailers)
        {
            foreach (ref readonly var field in fields.AsSpan())
            {
                if (HeaderRules.OfResponse(field.Name) == HeaderAction.Pass)
                {
                    Append(trailers, field);
                }
            }
        }
        return default;
    }

    /// <summary>An HTTP/1.1 caller gets trailers if it says that it accepts them (RFC 9110, 6.5.1).</summary>
    /// <returns>Whether kedge itself must send the body in the chunked transfer coding.</returns>
    private static bool PrepareTrailers(HttpContext context, UpstreamResponse upstream)
    {
        var request = context.Request;
        var headers = context.Response.Headers;
        if (HttpProtocol.IsHttp2(request.Protocol))
        {
            return false;
        }
        if (HttpProtocol.IsHttp11(request.Protocol)
            && HeaderRules.AcceptsTrailers(request.Headers.TE)
            && !upstream.HasNoContent
            && headers.ContentLength is null)
        {
            headers.TransferEncoding = "chunked";
            return true;
        }
        headers.Remove(HeaderNames.Trailer);
        return false;
    }

    private static void CopyHeaders(UpstreamResponse from, IHeaderDictionary to)
    {
        var rules = new ResponseFields(from.Fields);
        foreach (ref readonly var field in from.Fields.AsSpan())
        {
            if (rules.IsForwarded(field.Name))
            {
                Append(to, field);
            }
        }
    }

    private static void Append(IHeaderDictionary to, Field field) =>
        to[field.Name] = to.TryGetValue(field.Name, out var values)
            ? StringValues.Concat(values, field.Value)
            : field.Value;
}
