using Microsoft.AspNetCore.Http.Features;
using System.Diagnostics;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Debug;
using Kedge.Host.Flags;
using Kedge.Host.Forwarding;
using Kedge.Host.Listeners;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace Kedge.Host.Server;

/// <summary>The running proxy: its engine, its listeners and its debug port, from start to drained end.</summary>
public sealed class KedgeServer : IAsyncDisposable
{
    private readonly ListenerOptions options;
    private readonly ILogger<KedgeServer> logger;
    private readonly ServerHealth health = new();
    private readonly Authorizer authorizer;
    private readonly ProxyEngine engine;
    private readonly WebApplication? proxy;
    private readonly WebApplication? debug;

    /// <param name="options">What the server is asked to do.</param>
    /// <param name="configuration">What it starts with.</param>
    /// <param name="certificates">Null only when both TLS listeners are off.</param>
    /// <param name="loggers">Where it logs.</param>
    public KedgeServer(ServerOptions options, Configuration configuration, CertificateStore? certificates, ILoggerFactory loggers)
    {
        this.options = options.Listeners;
        logger = loggers.CreateLogger<KedgeServer>();
        authorizer = Authorizer.Create(options.Authorization, loggers);
        engine = new(SettingsOf(options), loggers) { Authorizer = authorizer };
        engine.Apply(configuration);
        if (certificates is not null && options.Listeners.HasTls)
        {
            proxy = ProxyListeners.Create(options.Listeners, certificates, engine, loggers);
        }
        if (options.Listeners.HttpPort != 0)
        {
            IDebugPage[] pages = [new HealthzPage(health), new ReadyzPage(health), new VersionPage(DateTimeOffset.UtcNow)];
            debug = DebugListener.Create(options.Listeners, pages, options.Authorization.ForDebugPages ? authorizer : null, loggers);
        }
    }

    /// <summary>Opens the listeners.</summary>
    /// <exception cref="ListenFailedException">One of them cannot be opened.</exception>
    public async Task StartAsync()
    {
        if (debug is not null)
        {
            await debug.StartAsync();
            LogAddresses(debug);
        }
        if (proxy is not null)
        {
            await proxy.StartAsync();
            LogAddresses(proxy);
        }
        health.MarkReady();
    }

    /// <summary>
    /// Closes the proxy listeners, lets exchanges in flight finish within the drain time, cuts what is left. The debug port
    /// answers until that is done.
    /// </summary>
    public async Task DrainAsync()
    {
        health.MarkDraining();
        logger.LogInformation("draining: exchanges in flight have {Timeout} to finish", GoDuration.Format(options.SigtermTimeout));
        var begun = Stopwatch.GetTimestamp();
        if (proxy is not null)
        {
            using var limit = new CancellationTokenSource(options.SigtermTimeout);
            await proxy.StopAsync(limit.Token);
            if (limit.IsCancellationRequested)
            {
                logger.LogWarning("the drain time is over; what was still in flight is cut");
            }
        }
        if (debug is not null)
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
            await debug.StopAsync(limit.Token);
        }
        logger.LogInformation("ended after {Duration}", GoDuration.Format(TimeSpan.FromMilliseconds((long)Stopwatch.GetElapsedTime(begun).TotalMilliseconds)));
    }

    public async ValueTask DisposeAsync()
    {
        if (proxy is not null)
        {
            await proxy.DisposeAsync();
        }
        if (debug is not null)
        {
            await debug.DisposeAsync();
        }
        await engine.DisposeAsync();
        await authorizer.DisposeAsync();
    }

    private static ProxySettings SettingsOf(ServerOptions options) => new()
    {
        MaxReadTimeout = options.Listeners.MaxReadTimeout,
        MaxWriteTimeout = options.Listeners.MaxWriteTimeout,
        FailedTargetBackoff = options.Forwarding.FailedTargetBackoff,
        TrustedProxies = options.Forwarding.TrustedProxies,
        Nameservers = options.Forwarding.DnsNameservers,
        AdhocAllowLoopback = options.Forwarding.AdhocAllowLoopback,
    };

    private void LogAddresses(WebApplication host)
    {
        foreach (var address in host.Services.GetRequiredService<IServer>().Features.GetRequiredFeature<IServerAddressesFeature>().Addresses)
        {
            var port = new Uri(address).Port;
            var name = port == options.GrpcTlsPort ? "grpc_tls" : port == options.HttpTlsPort ? "http_tls" : "debug";
            logger.LogInformation("listening on {Address} ({Listener})", address, name);
        }
    }
}
