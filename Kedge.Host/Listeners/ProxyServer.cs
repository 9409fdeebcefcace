using Kedge.Host.Forwarding;
using Kedge.Host.Http;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Abstractions;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Listeners;

/// <summary>
/// Kestrel with the engine right behind it. What the web host would put between the two (an activity, a logging scope and
/// events for each request) costs time that every request would pay, and tells nothing that kedge does not tell itself.
/// </summary>
public sealed class ProxyServer : IAsyncDisposable
{
    private readonly WebApplication _host;
    private readonly IServer _server;
    private readonly Application _application;

    /// <param name="host">Where the server comes from. It is never started.</param>
    /// <param name="engine">Answers the requests.</param>
    /// <param name="grpcTlsPort">The port whose connections are the gRPC listener's.</param>
    internal ProxyServer(WebApplication host, ProxyEngine engine, int grpcTlsPort)
    {
        _host = host;
        _server = host.Services.GetRequiredService<IServer>();
        _application = new Application(engine, grpcTlsPort);
    }

    public IEnumerable<string> Addresses => _host.Urls;

    /// <summary>The listener that has the port.</summary>
    public ListenerKind KindOf(int port) => _application.KindOf(port);

    /// <exception cref="ListenFailedException">A listener cannot be opened.</exception>
    public Task StartAsync() => _server.StartAsync(_application, CancellationToken.None);

    /// <summary>Closes the listeners, and waits for the requests under way until <paramref name="limit"/> is cancelled.</summary>
    public Task StopAsync(CancellationToken limit) => _server.StopAsync(limit);

    public async ValueTask DisposeAsync() => await _host.DisposeAsync();

    private sealed class Application(ProxyEngine engine, int grpcTlsPort) : IHttpApplication<DefaultHttpContext>
    {
        public ListenerKind KindOf(int port) => port == grpcTlsPort ? ListenerKind.GrpcTls : ListenerKind.HttpTls;

        public DefaultHttpContext CreateContext(IFeatureCollection contextFeatures)
        {
            // The server keeps one for each connection or stream that it uses again.
            if (contextFeatures is not IHostContextContainer<DefaultHttpContext> container)
            {
                return new DefaultHttpContext(contextFeatures);
            }
            if (container.HostContext is { } known)
            {
                known.Initialize(contextFeatures);
                return known;
            }
            return container.HostContext = new DefaultHttpContext(contextFeatures);
        }

        public Task ProcessRequestAsync(DefaultHttpContext context) =>
            engine.HandleAsync(context, KindOf(context.Connection.LocalPort));

        public void DisposeContext(DefaultHttpContext context, Exception? exception) => context.Uninitialize();
    }
}
