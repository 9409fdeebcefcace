using Grpc.HealthCheck;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using static Grpc.Health.V1.HealthCheckResponse.Types;

namespace Kedge.Host.Debug;

/// <summary>
/// grpc.health.v1 over clear-text HTTP/2, on a separate port: SERVING from readiness until the drain begins.
/// </summary>
public static class GrpcHealthListener
{
    public static WebApplication Create(ListenerOptions options, ServerHealth health, ILoggerFactory loggers)
    {
        var service = new HealthServiceImpl();
        void Report() => service.SetStatus("", health.IsReady ? ServingStatus.Serving : ServingStatus.NotServing);
        health.Changed += Report;
        Report();
        return ListenerHost.Create(
            loggers,
            new ConnectionGate(OpenFiles.DebugConnections, loggers.CreateLogger("kedge.connections")),
            kestrel =>
            {
                kestrel.AddServerHeader = false;
                kestrel.Listen(
                    options.BindAddress, options.GrpcHealthPort, listener => listener.Protocols = HttpProtocols.Http2);
            },
            services =>
            {
                services.AddRoutingCore();
                services.AddGrpc();
                services.AddSingleton(service);
            },
            app => app.MapGrpcService<HealthServiceImpl>());
    }
}
