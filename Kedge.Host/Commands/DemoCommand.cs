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

    public IEnumerable<Flag> Flags =>
    [
        FlagCatalogue.GrpcTlsPort,
        FlagCatalogue.HttpTlsPort,
        FlagCatalogue.HttpPort,
        FlagCatalogue.BindAddress,
        FlagCatalogue.LogLevel,
        FlagCatalogue.LogFormatFlag,
    ];

    public string Notes =>
        "Listens on the loopback address only, unless --server_bind_address is given. If a default port is in use, "
        + "kedge takes a free one instead; the printed commands have the ports that are open.";

    public async Task<int> RunAsync(Invocation invocation)
    {
        var options = ServerOptions.From(invocation.Flags);
        options = options with
        {
            Listeners = Listeners(invocation.Flags) with { SigtermTimeout = TimeSpan.FromSeconds(5) },
            // The demo's ad-hoc rule targets a backend on this machine.
            Forwarding = options.Forwarding with { AdhocAllowLoopback = true },
        };
        using var logging = new LogOutput(options.Logging);
        await using var backends = await DemoBackends.StartAsync();
        var loaded = LoadedFiles.Load(
            "director",
            Encoding.UTF8.GetBytes(backends.DirectorJson(DemoGuide.HostOf(options.Listeners.BindAddress))),
            "backendpool",
            Encoding.UTF8.GetBytes(backends.BackendPoolJson));
        if (loaded.Value is not { } files)
        {
            throw new InvalidOperationException(
                "The demo's own configuration is invalid: " + string.Join("; ", loaded.Errors));
        }
        await using var server = new KedgeServer(
            options,
            invocation.Flags,
            new ServerStart(files, new(DemoCertificate.Create(TimeProvider.System)), ServerFiles.None),
            logging);
        return await ServerRun.UntilSignalAsync(
            server,
            logging.Loggers.CreateLogger<DemoCommand>(),
            () => DemoGuide.Write(invocation.Output, options.Listeners));
    }

    /// <summary>The listeners from the flags, with free ports instead of default ports that are in use.</summary>
    private static ListenerOptions Listeners(FlagValues flags)
    {
        var address = flags.IsGiven(FlagCatalogue.BindAddress)
            ? flags.Get(FlagCatalogue.BindAddress)
            : IPAddress.Loopback;
        Flag<int>[] ports = [FlagCatalogue.GrpcTlsPort, FlagCatalogue.HttpTlsPort, FlagCatalogue.HttpPort];
        int[] given = [.. ports.Where(flags.IsGiven).Select(flags.Get)];
        int PortOf(Flag<int> flag)
        {
            var port = flags.Get(flag);
            if (flags.IsGiven(flag) || (!given.Contains(port) && TryOpen(address, port) != 0))
            {
                return port;
            }
            // When not even a free port can be opened, the listener reports why.
            return TryOpen(address, 0) is > 0 and var free ? free : port;
        }
        return ListenerOptions.From(flags) with
        {
            BindAddress = address,
            GrpcTlsPort = PortOf(FlagCatalogue.GrpcTlsPort),
            HttpTlsPort = PortOf(FlagCatalogue.HttpTlsPort),
            HttpPort = PortOf(FlagCatalogue.HttpPort),
        };
    }

    /// <summary>The port if it can be opened, or any free port for 0; 0 = it cannot be opened.</summary>
    private static int TryOpen(IPAddress address, int port)
    {
        try
        {
            using var probe = new TcpListener(address, port);
            probe.Start();
            return ((IPEndPoint)probe.LocalEndpoint).Port;
        }
        catch (SocketException)
        {
            return 0;
        }
    }
}
