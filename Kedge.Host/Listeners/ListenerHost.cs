using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Kedge.Host.Listeners;

/// <summary>
/// A web host that contains only Kestrel and one request delegate: no routing, no middleware, no configuration from the
/// environment. The proxy and the debug port have one each, because they end at different times.
/// </summary>
public static class ListenerHost
{
    public static WebApplication Create(
        ILoggerFactory loggers, Action<KestrelServerOptions> listeners, RequestDelegate handler) =>
        Create(loggers, listeners, static _ => { }, app => app.Run(handler));

    /// <summary>A host whose server is used without the host.</summary>
    public static WebApplication Create(ILoggerFactory loggers, Action<KestrelServerOptions> listeners) =>
        Create(loggers, listeners, static _ => { }, static _ => { });

    /// <summary>A host with services and a request pipeline instead of the one delegate.</summary>
    public static WebApplication Create(
        ILoggerFactory loggers,
        Action<KestrelServerOptions> listeners,
        Action<IServiceCollection> services,
        Action<WebApplication> pipeline)
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Services.Replace(ServiceDescriptor.Singleton(loggers));
        builder.Services.Replace(ServiceDescriptor.Singleton<IHostLifetime, NoLifetime>());
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = Timeout.InfiniteTimeSpan);
        builder.Services.Configure<SocketTransportOptions>(sockets => sockets.CreateBoundListenSocket = Bind);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(listeners);
        services(builder.Services);
        var app = builder.Build();
        pipeline(app);
        return app;
    }

    private static Socket Bind(EndPoint address)
    {
        try
        {
            return SocketTransportOptions.CreateDefaultBoundListenSocket(address);
        }
        catch (SocketException e)
        {
            throw new ListenFailedException(address, e);
        }
    }

    /// <summary>Signals are handled in one place for both hosts.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
