using System.Collections.Frozen;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Debug;

/// <summary>The plain-text port for health and debug pages. Nothing is proxied here, and none of it is on the proxy ports.</summary>
public static class DebugListener
{
    public static WebApplication Create(ListenerOptions options, IEnumerable<IDebugPage> pages, ILoggerFactory loggers)
    {
        var byPath = pages.ToFrozenDictionary(page => page.Path, StringComparer.Ordinal);
        return ListenerHost.Create(
            loggers,
            kestrel =>
            {
                kestrel.AddServerHeader = false;
                kestrel.Listen(options.BindAddress, options.HttpPort, listener => listener.Protocols = HttpProtocols.Http1);
            },
            context => AnswerAsync(byPath, context));
    }

    private static Task AnswerAsync(FrozenDictionary<string, IDebugPage> pages, HttpContext context)
    {
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        if (!pages.TryGetValue(context.Request.Path.Value ?? "", out var page))
        {
            return Answers.TextAsync(context, StatusCodes.Status404NotFound, "no such page");
        }
        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method))
        {
            context.Response.Headers.Allow = "GET, HEAD";
            return Answers.TextAsync(context, StatusCodes.Status405MethodNotAllowed, "only GET and HEAD");
        }
        return page.AnswerAsync(context);
    }
}
