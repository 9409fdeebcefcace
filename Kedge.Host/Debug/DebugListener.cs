using System.Collections.Frozen;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Debug;

/// <summary>
/// The plain-text port for health, metrics and debug pages. It proxies nothing, and the proxy ports serve none of its
/// pages.
/// </summary>
public static class DebugListener
{
    /// <param name="options">The address and port.</param>
    /// <param name="pages">The pages, each with its own path.</param>
    /// <param name="guard">Decides who may see the pages that are not open; null = everyone.</param>
    /// <param name="counters">Where its connections are counted.</param>
    /// <param name="loggers">Where it logs.</param>
    public static WebApplication Create(
        ListenerOptions options,
        IEnumerable<IDebugPage> pages,
        Authorizer? guard,
        ListenerCounters counters,
        ILoggerFactory loggers)
    {
        var byPath = pages.ToFrozenDictionary(page => page.Path, StringComparer.Ordinal);
        return ListenerHost.Create(
            loggers,
            kestrel =>
            {
                kestrel.AddServerHeader = false;
                kestrel.Listen(options.BindAddress, options.HttpPort, listener =>
                {
                    listener.Protocols = HttpProtocols.Http1;
                    listener.Count(counters);
                });
            },
            context => AnswerAsync(byPath, guard, context));
    }

    private static async Task AnswerAsync(
        FrozenDictionary<string, IDebugPage> pages, Authorizer? guard, HttpContext context)
    {
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        var page = pages.GetValueOrDefault(context.Request.Path.Value ?? "");
        if (guard is not null && page is not { IsOpen: true }
            && await guard.AuthorizeAsync(context, null) is { } denial)
        {
            await denial.WriteAsync(context, Protocol.Http, requestId: null, backendName: null);
            return;
        }
        if (page is null)
        {
            await PageResponse.TextAsync(context, StatusCodes.Status404NotFound, "no such page");
            return;
        }
        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method))
        {
            context.Response.Headers.Allow = "GET, HEAD";
            await PageResponse.TextAsync(context, StatusCodes.Status405MethodNotAllowed, "only GET and HEAD");
            return;
        }
        try
        {
            await page.AnswerAsync(context);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException
            && context.RequestAborted.IsCancellationRequested)
        {
            // The client has disconnected.
        }
    }
}
