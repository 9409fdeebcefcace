using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using Kedge.Host.Http;
using Kedge.Wire.Http2;
using Kedge.Wire.Upstream;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Kedge.Host.Forwarding;

/// <summary>
/// Forwards informational responses such as 103 (RFC 9110, 15.2). The server cannot send them, so kedge writes them to
/// the decrypted connection below it: over HTTP/1.1, the server writes nothing there before the final response; over
/// HTTP/2, they are inserted between its frames. HTTP/1.0 has none. They are optional, so any that cannot be sent are
/// left out.
/// </summary>
internal static class InformationalResponse
{
    // RFC 8297.
    private const int EarlyHints = 103;

    public static ValueTask SendAsync(HttpContext context, int status, FieldList fields)
    {
        if (context.Response.HasStarted || context.RequestAborted.IsCancellationRequested)
        {
            return default;
        }
        var protocol = context.Request.Protocol;
        if (HttpProtocol.IsHttp11(protocol)
            && context.Features.Get<IConnectionTransportFeature>()?.Transport is { } transport)
        {
            return SendHttp1Async(transport.Output, status, Forwarded(fields), context.RequestAborted);
        }
        if (HttpProtocol.IsHttp2(protocol)
            && context.Features.Get<Http2Output>() is { } output
            && context.Features.Get<IHttp2StreamIdFeature>() is { StreamId: var stream }
            && InformationalFrame.Encode(stream, status, Forwarded(fields)) is { } frame)
        {
            output.TryInsert(frame);
        }
        return default;
    }

    private static async ValueTask SendHttp1Async(
        PipeWriter output, int status, FieldList fields, CancellationToken cancel)
    {
        var reason = status == EarlyHints ? "Early Hints" : ReasonPhrases.GetReasonPhrase(status);
        var text = new StringBuilder($"HTTP/1.1 {status} {reason}\r\n");
        for (var i = 0; i < fields.Count; i++)
        {
            var (name, value) = fields[i];
            text.Append(name).Append(": ").Append(value).Append("\r\n");
        }
        output.Write(Encoding.Latin1.GetBytes(text.Append("\r\n").ToString()));
        await output.FlushAsync(cancel);
    }

    private static FieldList Forwarded(FieldList fields)
    {
        var forwarded = new FieldList();
        var rules = new ResponseFields(fields);
        foreach (ref readonly var field in fields.AsSpan())
        {
            if (rules.IsForwarded(field.Name)
                && !field.Name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase))
            {
                forwarded.Add(field.Name, field.Value);
            }
        }
        return forwarded;
    }
}
