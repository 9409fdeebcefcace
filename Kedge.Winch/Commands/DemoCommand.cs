using System.Net;
using System.Net.Sockets;
using System.Text;
using Kedge.Client.Domain;
using Kedge.Domain;
using Kedge.Host.Commands;
using Kedge.Host.Demo;
using Kedge.Host.Flags;
using Kedge.Host.Logging;
using Kedge.Host.Server;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>Runs a kedge with two backends behind it and winch in front of it, without any files.</summary>
public sealed class DemoCommand : ICommand
{
    // The demo's kedge requires a token, so that winch has something to add.
    private const string Token = "winch-demo-token";

    public string Name => "demo";

    public string Summary => "runs a kedge, backends and winch on this machine, and prints commands to try";

    public IEnumerable<Flag> Flags =>
        [WinchFlags.HttpPort, WinchFlags.GrpcPort, FlagCatalogue.LogLevel, FlagCatalogue.LogFormatFlag];

    public string Notes =>
        "If a default port is in use, winch takes a free one instead; the printed commands have the ports that are "
        + "open.";

    public async Task<int> RunAsync(Invocation invocation)
    {
        var none = new FlagValues(new Dictionary<Flag, FlagValue>());
        var options = ServerOptions.From(none);
        options = options with
        {
            Listeners = options.Listeners with
            {
                BindAddress = IPAddress.Loopback,
                GrpcTlsPort = WinchServer.FreePort(),
                HttpTlsPort = WinchServer.FreePort(),
                HttpPort = 0,
                SigtermTimeout = TimeSpan.FromSeconds(2),
            },
            Authorization = options.Authorization with { BearerToken = Token },
            Forwarding = options.Forwarding with { AdhocAllowLoopback = true },
        };
        using var logging = new LogOutput(LoggingOptions.From(invocation.Flags));
        await using var backends = await DemoBackends.StartAsync();
        var director = $$"""
            { "http": { "routes": [ { "backend_name": "demo_http", "host_matcher": "web.demo.internal" } ] },
              "grpc": { "routes": [ { "backend_name": "demo_grpc", "authority_host_matcher": "greeter.demo.internal" } ] } }
            """;
        var configuration = LoadedFiles
            .Load(
                "director",
                Encoding.UTF8.GetBytes(director),
                "backendpool",
                Encoding.UTF8.GetBytes(backends.BackendPoolJson))
            .Value!;
        await using var kedge = new KedgeServer(
            options,
            none,
            new ServerStart(configuration, new(DemoCertificate.Create(TimeProvider.System)), ServerFiles.None),
            logging);
        await kedge.StartAsync();
        var mapper = $$"""
            { "routes": [ { "regexp": { "exp": "^[a-z]+[.]demo[.]internal$", "url": "https://localhost:{{options.Listeners.HttpTlsPort}}" },
                            "proxy_auth": "demo", "tls": { "insecure": true } } ] }
            """;
        var sources = $$"""{ "auth_sources": [ { "name": "demo", "token": { "token": "{{Token}}" } } ] }""";
        var files = ClientFiles
            .Load(
                "mapper",
                Encoding.UTF8.GetBytes(mapper),
                "sources",
                Encoding.UTF8.GetBytes(sources),
                MapperOptions.Default)
            .Value!;
        Flag<int>[] ports = [WinchFlags.HttpPort, WinchFlags.GrpcPort];
        var code = await RunCommand.UntilSignalAsync(
            invocation,
            files,
            server =>
            {
                Write(invocation.Output, server.HttpPort);
                return Task.CompletedTask;
            },
            isEphemeral: !ports.Any(invocation.Flags.IsGiven) && !ports.Select(invocation.Flags.Get).All(IsFree));
        await kedge.DrainAsync();
        return code;
    }

    private static bool IsFree(int port)
    {
        using var probe = new TcpListener(IPAddress.Loopback, port);
        try
        {
            probe.Start();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static void Write(TextWriter output, int port)
    {
        output.WriteLine($"""

            winch is running on port {port}, in front of a kedge with two small backends. Names under demo.internal
            exist nowhere else. In another terminal, try:

            # a page by its own name
            curl --proxy http://127.0.0.1:{port} http://web.demo.internal/hello

            # the same through a CONNECT tunnel, as browsers do for WebSockets
            curl --proxytunnel --proxy http://127.0.0.1:{port} http://web.demo.internal/hello

            # server-sent events, as they arrive
            curl -N --proxy http://127.0.0.1:{port} http://web.demo.internal/stream

            # gRPC, by hand
            printf '\000\000\000\000\007\012\005Kedge' | curl -s --http2-prior-knowledge --connect-to ::127.0.0.1:{port} --data-binary @- -H 'content-type: application/grpc' -H 'te: trailers' http://greeter.demo.internal:80/kedge.demo.Greeter/Greet | tail -c +8; echo

            # a host that kedge does not know
            curl -i --proxy http://127.0.0.1:{port} http://nobody.demo.internal/

            # what browsers ask for
            curl http://127.0.0.1:{port}/proxy.pac

            # routes, logins, latest requests
            curl http://127.0.0.1:{port}/

            Press Ctrl-C to stop.

            """);
        output.Flush();
    }
}
