using System.Net;
using System.Net.Sockets;
using System.Text;
using Kedge.Domain;
using Kedge.Host.Demo;
using Kedge.Host.Flags;
using Kedge.Host.Logging;
using Kedge.Host.Server;

namespace Kedge.Host.Commands;

/// <summary>Runs the proxy without any files: its certificate, backends and configuration live in memory.</summary>
public sealed class DemoCommand : ICommand
{
    public string Name => "demo";

    public string Summary =>
        "runs the proxy without any files, in front of two small backends, and prints commands to try";

    public IEnumerable<Flag> Flags => [FlagCatalogue.LogLevel, FlagCatalogue.LogFormatFlag];

    public async Task<int> RunAsync(Invocation invocation)
    {
        var options = ServerOptions.From(invocation.Flags);
        options = options with
        {
            Listeners = options.Listeners with
            {
                BindAddress = IPAddress.Loopback,
                GrpcTlsPort = PortNear(options.Listeners.GrpcTlsPort),
                HttpTlsPort = PortNear(options.Listeners.HttpTlsPort),
                HttpPort = PortNear(options.Listeners.HttpPort),
                SigtermTimeout = TimeSpan.FromSeconds(5),
            },
            // The demo's ad-hoc rule targets a backend on this machine.
            Forwarding = options.Forwarding with { AdhocAllowLoopback = true },
        };
        using var logging = new LogOutput(options.Logging);
        await using var backends = await DemoBackends.StartAsync();
        var loaded = Configuration.Load(
            "director", Encoding.UTF8.GetBytes(backends.DirectorJson), "backendpool", Encoding.UTF8.GetBytes(backends.BackendPoolJson));
        if (loaded.Value is not { } configuration)
        {
            throw new InvalidOperationException("The demo's own configuration is invalid: " + string.Join("; ", loaded.Errors));
        }
        await using var server = new KedgeServer(
            options,
            invocation.Flags,
            new ServerStart(configuration, new(DemoCertificate.Create(TimeProvider.System)), ServerFiles.None),
            logging);
        return await ServerRun.UntilSignalAsync(
            server,
            logging.Loggers.CreateLogger<DemoCommand>(),
            () => DemoGuide.Write(invocation.Output, options.Listeners));
    }

    /// <summary>The port itself, or any free port when it is in use.</summary>
    public static int PortNear(int port)
    {
        foreach (var candidate in (int[])[port, 0])
        {
            try
            {
                using var probe = new TcpListener(IPAddress.Loopback, candidate);
                probe.Start();
                return ((IPEndPoint)probe.LocalEndpoint).Port;
            }
            catch (SocketException) when (candidate != 0)
            {
            }
        }
        throw new InvalidOperationException("No port is free.");
    }
}
