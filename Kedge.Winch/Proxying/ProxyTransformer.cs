using System.Net;
using Kedge.Client;
using Microsoft.Net.Http.Headers;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Winch.Proxying;

/// <summary>Where one request goes.</summary>
/// <param name="Route">Null = directly to its target.</param>
/// <param name="Authority">The target as the caller named it.</param>
/// <param name="Url">The target's URL.</param>
internal sealed record Journey(KedgeRoute? Route, string Authority, Uri Url, bool IsGrpc)
{
    public static readonly HttpRequestOptionsKey<Journey> Option = new("winch-journey");
}

/// <summary>Builds the outgoing request from the incoming one, and the response.</summary>
/// <param name="journey">The journey of the request.</param>
/// <param name="infoLogs">The header value that asks kedges to log the request; empty = none.</param>
/// <param name="allowedOrigin">The origin that winch's own CORS allows; null = the service handles CORS.</param>
internal sealed class ProxyTransformer(Journey journey, string infoLogs, string? allowedOrigin) : HttpTransformer
{
    private const string InfoLogsHeader = "X-Kedge-Info-Logs";
    private const string RequestIdHeader = "X-Kedge-Request-ID";

    public override async ValueTask TransformRequestAsync(
        HttpContext httpContext,
        HttpRequestMessage proxyRequest,
        string destinationPrefix,
        CancellationToken cancellationToken)
    {
        await base.TransformRequestAsync(httpContext, proxyRequest, destinationPrefix, cancellationToken);
        proxyRequest.RequestUri = journey.Url;
        proxyRequest.Options.Set(Journey.Option, journey);
        var headers = proxyRequest.Headers;
        headers.Host = journey.Authority;
        foreach (var name in headers.NonValidated.Select(header => header.Key).Where(IsForProxy).ToArray())
        {
            headers.Remove(name);
        }
        if (journey.Route is null)
        {
            return;
        }
        headers.TryAddWithoutValidation(
            "X-Forwarded-For",
            httpContext.Connection.RemoteIpAddress?.ToString() ?? "127.0.0.1");
        if (!headers.NonValidated.Contains(RequestIdHeader))
        {
            headers.TryAddWithoutValidation(RequestIdHeader, $"winch-{Guid.NewGuid()}");
        }
        if (infoLogs.Length > 0 && !headers.NonValidated.Contains(InfoLogsHeader))
        {
            headers.TryAddWithoutValidation(InfoLogsHeader, infoLogs);
        }
    }

    public override async ValueTask<bool> TransformResponseAsync(
        HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
    {
        var copies = await base.TransformResponseAsync(httpContext, proxyResponse, cancellationToken);
        if (proxyResponse is null)
        {
            return copies;
        }
        var response = httpContext.Response;
        if (allowedOrigin is not null)
        {
            response.Headers.AccessControlAllowOrigin = allowedOrigin;
            response.Headers.AccessControlAllowCredentials = "true";
            response.Headers.Append(HeaderNames.Vary, "Origin");
        }
        var isUpgrade =
            proxyResponse.StatusCode == HttpStatusCode.SwitchingProtocols
            || (
                proxyResponse.StatusCode == HttpStatusCode.OK
                && proxyResponse.RequestMessage?.Method == HttpMethod.Connect);
        if (isUpgrade || !copies)
        {
            return copies;
        }
        // Sends the headers at once, before the body arrives; the forwarder would hold them until then.
        var body = await proxyResponse.Content.ReadAsStreamAsync(cancellationToken);
        var first = body.ReadAsync(Memory<byte>.Empty, cancellationToken);
        if (!first.IsCompletedSuccessfully)
        {
            await response.Body.FlushAsync(cancellationToken);
            await first;
        }
        return true;
    }

    private static bool IsForProxy(string name) =>
        name.StartsWith("Proxy-", StringComparison.OrdinalIgnoreCase);
}
