using System.Net;
using Kedge.Client;
using Kedge.Client.Connections;
using Kedge.Client.Domain;
using Kedge.Host.Configurations;
using Kedge.Host.Flags;
using Kedge.Host.Listeners;
using Kedge.Winch.Listening;
using Kedge.Winch.Pages;
using Kedge.Winch.Proxying;
using Kedge.Winch.Settings;
using Kedge.Winch.Sources;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Winch;

/// <summary>The running proxy.</summary>
internal sealed class WinchServer : IAsyncDisposable
{
    private static readonly TimeSpan ReloadInterval = TimeSpan.FromSeconds(1);

    private readonly FlagValues _flags;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _logger;
    private readonly WinchStates _states;
    private readonly FrontDoor _door;
    private readonly WebApplication _app;
    private readonly WebApplication? _monitoring;
    private readonly JourneyHandler _journeys;
    private readonly CancellationTokenSource _stop = new();
    private readonly BrowserTab _tab;
    private readonly IPAddress _address;
    private readonly bool _isEphemeral;
    private Task _reloading = Task.CompletedTask;

    /// <param name="flags">The flags of the command line.</param>
    /// <param name="files">The current files.</param>
    /// <param name="credentials">The credentials that clients must present.</param>
    /// <param name="loggers">Creates the loggers.</param>
    /// <param name="quit">Ends the process.</param>
    /// <param name="isEphemeral">Uses a free port instead of the flags' ports, and no separate port for gRPC.</param>
    /// <exception cref="FormatException">The PAC cannot be generated.</exception>
    public WinchServer(
        FlagValues flags,
        ClientFiles files,
        ClientCredentials credentials,
        ILoggerFactory loggers,
        Action quit,
        bool isEphemeral = false)
    {
        _flags = flags;
        _loggers = loggers;
        _logger = loggers.CreateLogger("winch");
        _address = flags.Get(WinchFlags.BindAddress);
        _isEphemeral = isEphemeral;
        HttpPort = flags.Get(WinchFlags.HttpPort) is > 0 and var port && !isEphemeral ? port : FreePort();
        _tab = new(loggers.CreateLogger("winch.login"));
        var sources = SourceFactory.Create(files.Sources, flags.Get(WinchFlags.AuthTimeout));
        _states = new(StateOf(files, sources));
        var metrics = new WinchMetrics();
        var (upstream, exempt) = (flags.Get(WinchFlags.UpstreamProxy), flags.Get(WinchFlags.UpstreamNoProxy));
        var exemptions = string.Join(',', exempt);
        var connections = new KedgeConnections();
        var kedges = new KedgeHandler(
            KedgeMapper.Hosts(new Dictionary<string, KedgeRoute>()),
            new() { Proxy = upstream, ProxyExemptions = exemptions, OnConnection = connections.Add });
        var dialer = new DirectDialer(
            IsOwn, upstream is null ? null : new UpstreamProxy(upstream, NoProxy.Parse(exemptions)));
        _door = new FrontDoor(loggers);
        _journeys = new(kedges, dialer);
        var invoker = new HttpMessageInvoker(_journeys, disposeHandler: false);
        var monitoring = WinchChecks.MonitoringAddress(flags);
        var settings = new PageSettings(
            HttpPort,
            flags.Get(WinchFlags.MetricsPath),
            HasDebugPages: monitoring is null,
            string.Concat(WinchFlags.All.Select(flag => $"{flag.Name}={flags.TextOf(flag)}\n")),
            flags.Get(WinchFlags.QuitQuitQuit) ? quit : null);
        _tab.Redirect = settings.RedirectUri;
        var pages = new OwnPages(_states, metrics, connections, settings, loggers.CreateLogger("winch.pages"));
        WinchProxy? proxy = null;
        _app = ListenerHost.Create(
            loggers,
            gate: null,
            kestrel =>
            {
                Limits(kestrel);
                kestrel.Listen(_door.Http1, listen => listen.Protocols = HttpProtocols.Http1);
                kestrel.Listen(_door.Http2, listen => listen.Protocols = HttpProtocols.Http2);
            },
            services =>
            {
                services.AddHttpForwarder();
                services.AddSingleton<IConnectionListenerFactory>(_door);
            },
            app => app.Run(context => proxy!.HandleAsync(context)));
        proxy = new(
            _states,
            _app.Services.GetRequiredService<IHttpForwarder>(),
            invoker,
            pages.ServeAsync,
            $"http://127.0.0.1:{HttpPort}",
            metrics,
            credentials,
            flags.Get(WinchFlags.CorsOrigins),
            flags.Get(WinchFlags.DebugMode) ? $"winch-{Environment.UserName}" : "",
            loggers.CreateLogger("winch.requests"));
        var tunnel = new ConnectTunnel(
            _door,
            _states,
            kedges,
            dialer,
            credentials,
            metrics,
            loggers.CreateLogger("winch.connect"));
        _door.OnConnect = tunnel.ServeAsync;
        if (monitoring is not null)
        {
            _monitoring = ListenerHost.Create(
                loggers, gate: null, kestrel => kestrel.Listen(monitoring), pages.ServeDebugAsync);
        }
    }

    public int HttpPort { get; }

    public WinchState State => _states.Current;

    /// <exception cref="ListenFailedException">A port cannot be opened.</exception>
    public async Task StartAsync()
    {
        await _app.StartAsync();
        if (_monitoring is not null)
        {
            await _monitoring.StartAsync();
        }
        await _door.ListenAsync(new IPEndPoint(_address, HttpPort), hasPages: true);
        if (_flags.Get(WinchFlags.GrpcPort) is > 0 and var grpc && !_isEphemeral)
        {
            await _door.ListenAsync(new IPEndPoint(_address, grpc), hasPages: false);
        }
        if (_flags.Get(WinchFlags.ListenUnix) is { Length: > 0 } path)
        {
            await _door.ListenAsync(new System.Net.Sockets.UnixDomainSocketEndPoint(path), hasPages: false);
        }
        _reloading = ReloadAsync(_stop.Token);
        foreach (var warning in State.Files.Warnings)
        {
            _logger.LogWarning("{Warning}", warning);
        }
        _logger.LogInformation(
            "listening on {Addresses}; {Routes} routes; CORS by winch: {Cors}",
            string.Join(", ", _door.Places),
            State.Mapper.Routes.Count,
            _flags.Get(WinchFlags.CorsOrigins) is { Count: > 0 } origins ? string.Join(", ", origins) : "off");
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _reloading;
        await _door.DisposeAsync();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(3));
        foreach (var app in new[] { _app, _monitoring }.OfType<WebApplication>())
        {
            try
            {
                await app.StopAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
            }
            await app.DisposeAsync();
        }
        _journeys.Dispose();
        _stop.Dispose();
    }

    /// <summary>A port that nothing listens on now.</summary>
    internal static int FreePort()
    {
        using var probe = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    private static void Limits(KestrelServerOptions kestrel)
    {
        kestrel.AddServerHeader = false;
        kestrel.AllowHostHeaderOverride = true;
        kestrel.AllowSynchronousIO = false;
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromMinutes(10);
        kestrel.Limits.MaxRequestHeadersTotalSize = 128 * 1024;
        kestrel.Limits.MaxRequestHeaderCount = 200;
        kestrel.Limits.Http2.MaxStreamsPerConnection = 250;
    }

    /// <summary>Whether an address leads back to this winch.</summary>
    private bool IsOwn(IPEndPoint address) =>
        _door.Addresses.Any(own => own.Port == address.Port)
        && (IPAddress.IsLoopback(address.Address)
            || address.Address.Equals(IPAddress.Any)
            || address.Address.Equals(IPAddress.IPv6Any)
            || address.Address.IsIPv4MappedToIPv6 && IPAddress.IsLoopback(address.Address.MapToIPv4())
            || address.Address.Equals(_address));

    private WinchState StateOf(ClientFiles files, Dictionary<string, ITokenSource> sources)
    {
        var pac =
            WinchSetup.Pac(_flags, files.Mapper, $"127.0.0.1:{HttpPort}", out var problem)
            ?? throw new FormatException(problem);
        foreach (var source in sources.Values.OfType<OidcSource>())
        {
            source.OnLoginNeeded = _tab.Open;
        }
        return new(files, sources, new FileMapper(files, sources, WinchSetup.TlsOf(_flags)), pac);
    }

    /// <summary>
    /// Applies changed files. If they contain errors, reports these and keeps the previous configuration.
    /// </summary>
    private async Task ReloadAsync(CancellationToken stop)
    {
        var watched = new WatchedFiles([
            _flags.Get(WinchFlags.MapperPath),
            _flags.Get(WinchFlags.SourcesPath),
            _flags.Get(WinchFlags.PacFile),
            _flags.Get(WinchFlags.PacUpstream),
        ]);
        try
        {
            using var timer = new PeriodicTimer(ReloadInterval);
            while (await timer.WaitForNextTickAsync(stop))
            {
                if (watched.HaveChanged)
                {
                    Apply(await watched.ReadSettledAsync(
                        () => (WinchSetup.Load(_flags, out var errors), errors), stop));
                }
            }
        }
        catch (OperationCanceledException)
        {
        }
    }

    private void Apply((ClientFiles? Files, IReadOnlyList<string> Errors) read)
    {
        var errors = read.Errors;
        if (read.Files is { } files)
        {
            try
            {
                _states.Current = StateOf(
                    files, SourceFactory.Create(files.Sources, _flags.Get(WinchFlags.AuthTimeout), _states.Current));
                _states.Rejected = [];
                _logger.LogInformation("configuration reloaded: {Routes} routes", files.Mapper.Routes.Count);
                return;
            }
            catch (FormatException e)
            {
                errors = [e.Message];
            }
        }
        _states.Rejected = errors;
        foreach (var error in errors)
        {
            _logger.LogError(
                "the changed configuration is rejected; the previous one stays active: {Error}", error);
        }
    }
}
