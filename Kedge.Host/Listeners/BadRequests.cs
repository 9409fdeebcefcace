using System.Diagnostics;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Listeners;

/// <summary>
/// Requests that the server itself rejects, because it cannot parse their lines or headers. Kedge adds its headers to
/// the responses, and counts and logs the requests like all others.
/// </summary>
internal sealed class BadRequests(ProxyTelemetry telemetry) : IObserver<KeyValuePair<string, object?>>
{
    private const string Event = "Microsoft.AspNetCore.Server.Kestrel.BadRequest";

    /// <param name="source">The server's source.</param>
    public IDisposable Watch(DiagnosticListener source) => source.Subscribe(this, static name => name == Event);

    public void OnNext(KeyValuePair<string, object?> value)
    {
        if (value.Value is not IFeatureCollection features
            || features.Get<IBadRequestExceptionFeature>()?.Error is not BadHttpRequestException error
            || features.Get<IHttpResponseFeature>() is not { HasStarted: false } response)
        {
            // A response that has started belongs to a request that is counted when it ends.
            return;
        }
        var request = features.Get<IHttpRequestFeature>();
        var reply = ReplyTo(error);
        var requestId = RequestId.KeepOrCreate(null);
        if (!HttpProtocol.IsHttp2(request?.Protocol ?? ""))
        {
            reply.SetHeaders(response.Headers, requestId);
            response.Headers.Connection = "close";
            // The server would reset the headers of a response that has not started. This does not wait for the caller.
            _ = features.Get<IHttpResponseBodyFeature>()?.StartAsync();
        }
        telemetry.Rejected(request, requestId, reply);
    }

    private static LocalReply ReplyTo(BadHttpRequestException error)
    {
        // After the colon, the message quotes the request, which may contain secrets.
        var message = error.Message.AsSpan();
        var reason = message[..(message.IndexOf(": '") is var quote and >= 0 ? quote : message.Length)].TrimEnd('.');
        return LocalReply.BadRequest($"{char.ToLowerInvariant(reason[0])}{reason[1..]}") with
        {
            HttpStatus = error.StatusCode,
            Type = error.StatusCode == StatusCodes.Status408RequestTimeout
                ? LocalReply.RequestTimeout.Type
                : LocalReply.BadRequestBody.Type,
        };
    }

    public void OnCompleted()
    {
    }

    public void OnError(Exception error)
    {
    }
}
