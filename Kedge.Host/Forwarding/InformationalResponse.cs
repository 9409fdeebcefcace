using System.Buffers;
using System.Text;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;
using Microsoft.AspNetCore.Connections.Features;

namespace Kedge.Host.Forwarding;

/// <summary>
/// Forwards informational responses such as 103 (RFC 9110, 15.2). The server cannot send them, so they are written to
/// the decrypted connection below it, where it writes nothing before the final response. HTTP/1.0 has none.
/// </summary>
internal static class InformationalResponse
{
    public static async ValueTask SendAsync(HttpContext context, int status, FieldList fields)
    {
        if (!HttpProtocol.IsHttp11(context.Request.Protocol)
            || context.Response.HasStarted
            || context.Features.Get<IConnectionTransportFeature>()?.Transport is not { } transport)
        {
            return;
        }
        var text = new StringBuilder("HTTP/1.1 ").Append(status).Append(" \r\n");
        for (var i = 0; i < fields.Count; i++)
        {
            var (name, value) = fields[i];
            if (HeaderRules.OfResponse(name) == HeaderAction.Pass
                && !name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase))
            {
                text.Append(name).Append(": ").Append(value).Append("\r\n");
            }
        }
        transport.Output.Write(Encoding.Latin1.GetBytes(text.Append("\r\n").ToString()));
        await transport.Output.FlushAsync(context.RequestAborted);
    }
}
