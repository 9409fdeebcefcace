using Kedge.Wire.Loops;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Kedge.Host.Listeners;

/// <summary>
/// A web host that contains only Kestrel and one request delegate: no routing, no middleware, no configuration from the
/// environment. The proxy and the health and debug ports have one each, because they end at different times.
/// </summary>
public static class ListenerHost
{
    /// <param name="loggers">Where the server logs.</param>
    /// <param name="gate">Bounds the number of connections; null = they are not bounded here.</param>
    /// <param name="listeners">Sets the addresses and their protocols.</param>
    /// <param name="handler">Handles every request.</param>
    public static WebApplication Create(
        ILoggerFactory loggers,
        ConnectionGate? gate,
        Action<KestrelServerOptions> listeners,
        RequestDelegate handler) =>
        Create(loggers, gate, listeners, static _ => { }, app => app.Run(handler));

    /// <summary>A host that only provides its server; the host itself is never started.</summary>
    /// <param name="loops">The event loops that serve the connections; null = the platform's sockets do.</param>
    public static WebApplication Create(
        ILoggerFactory loggers, ConnectionGate gate, EventLoops? loops, Action<KestrelServerOptions> listeners) =>
        Create(loggers, gate, loops, listeners, static _ => { }, static _ => { });

    /// <summary>A host with services and a request pipeline instead of the one delegate.</summary>
    public static WebApplication Create(
        ILoggerFactory loggers,
        ConnectionGate? gate,
        Action<KestrelServerOptions> listeners,
        Action<IServiceCollection> services,
        Action<WebApplication> pipeline) =>
        Create(loggers, gate, loops: null, listeners, services, pipeline);

    private static WebApplication Create(
        ILoggerFactory loggers,
        ConnectionGate? gate,
        EventLoops? loops,
        Action<KestrelServerOptions> listeners,
        Action<IServiceCollection> services,
        Action<WebApplication> pipeline)
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Services.Replace(ServiceDescriptor.Singleton(loggers));
        builder.Services.Replace(ServiceDescriptor.Singleton<IHostLifetime, NoLifetime>());
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = Timeout.InfiniteTimeSpan);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(listeners);
        if (gate is not null)
        {
            builder.Services.RemoveAll<IConnectionListenerFactory>();
            builder.Services.AddSingleton<IConnectionListenerFactory>(provider => new GatedListenerFactory(
                gate, loops, provider.GetRequiredService<IMemoryPoolFactory<byte>>(), loggers));
        }
        services(builder.Services);
        var app = builder.Build();
        pipeline(app);
        return app;
    }

    /// <summary>Kedge handles signals in one place for all hosts.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
