using System.Net;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Bench;

/// <summary>
/// The backends: plain HTTP/1.1 on one port, h2c for gRPC on the other. All proxies use the same two.
/// </summary>
internal static class Backend
{
    private static readonly byte[] Small =
        "a small answer of a service, not quite a hundred bytes long, as a status page gives\n"u8.ToArray();
    private static readonly byte[] Large = new byte[64 * 1024];

    // A length-prefixed gRPC message. Its content does not matter to a proxy.
    private static readonly byte[] GrpcReply = [0, 0, 0, 0, 16, .. "\n\x0ea reply, unary"u8];

    public static async Task<int> RunAsync(int httpPort, int grpcPort)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            // HAProxy forwards the caller's `:scheme: https` to its clear-text backends.
            kestrel.AllowAlternateSchemes = true;
            kestrel.Listen(IPAddress.Loopback, httpPort, listen => listen.Protocols = HttpProtocols.Http1);
            kestrel.Listen(IPAddress.Loopback, grpcPort, listen => listen.Protocols = HttpProtocols.Http2);
        });

        await using var app = builder.Build();
        app.Run(context => context.Connection.LocalPort == grpcPort ? Grpc(context) : Http(context));
        await app.RunAsync();
        return 0;
    }

    private static Task Http(HttpContext context)
    {
        var body = context.Request.Path.Value == "/64k" ? Large : Small;
        context.Response.ContentType = "text/plain";
        context.Response.ContentLength = body.Length;
        return context.Response.Body.WriteAsync(body).AsTask();
    }

    private static async Task Grpc(HttpContext context)
    {
        while (context.Request.Path.Value != "/kedge.bench.Echo/Early")
        {
            var read = await context.Request.BodyReader.ReadAsync();
            context.Request.BodyReader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                break;
            }
        }

        context.Response.ContentType = "application/grpc";
        await context.Response.Body.WriteAsync(GrpcReply);
        context.Response.AppendTrailer("grpc-status", "0");
    }
}
