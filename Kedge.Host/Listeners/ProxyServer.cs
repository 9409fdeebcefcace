using System.Diagnostics;
using Kedge.Host.Flags;
using Kedge.Host.Forwarding;
using Kedge.Host.Http;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Abstractions;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Listeners;

/// <summary>
/// Kestrel, connected directly to the engine. What the web host would put between the two for each request (an
/// activity, a logging scope and events) costs time and reports nothing that kedge does not report itself.
/// </summary>
public sealed class ProxyServer : IAsyncDisposable
{
    private readonly WebApplication _host;
    private readonly IServer _server;
    private readonly ListenerOptions _options;
    private readonly Application _application;

    /// <param name="host">Provides the server. It is never started.</param>
    /// <param name="engine">Handles the requests.</param>
    /// <param name="options">The ports of the listeners.</param>
    /// <param name="badRequests">Receives the requests that the server itself rejects.</param>
    internal ProxyServer(WebApplication host, ProxyEngine engine, ListenerOptions options, BadRequests badRequests)
    {
        badRequests.Watch(host.Services.GetRequiredService<DiagnosticListener>());
        _host = host;
        _server = host.Services.GetRequiredService<IServer>();
        _options = options;
        _application = new Application(engine, options);
    }

    /// <summary>The addresses of the listeners, once they are open.</summary>
    public IEnumerable<(ListenerKind Listener, string Address)> Addresses =>
        _host.Urls.Select(address => (ListenerOf(_options, new Uri(address).Port), address));

    /// <exception cref="ListenFailedException">A listener cannot be opened.</exception>
    public Task StartAsync() => _server.StartAsync(_application, CancellationToken.None);

    /// <summary>
    /// Closes the listeners and waits for requests in flight until <paramref name="limit"/> is cancelled.
    /// </summary>
    public Task StopAsync(CancellationToken limit) => _server.StopAsync(limit);

    public async ValueTask DisposeAsync() => await _host.DisposeAsync();

    private static ListenerKind ListenerOf(ListenerOptions options, int port) =>
        port == options.GrpcTlsPort ? ListenerKind.GrpcTls
        : port == options.HttpPlainPort ? ListenerKind.HttpClear
        : ListenerKind.HttpTls;

    private sealed class Application(ProxyEngine engine, ListenerOptions options) : IHttpApplication<DefaultHttpContext>
    {
        public DefaultHttpContext CreateContext(IFeatureCollection contextFeatures)
        {
            // The server keeps the context with each connection or stream object that it reuses.
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
            engine.HandleAsync(context, ListenerOf(options, context.Connection.LocalPort));

        public void DisposeContext(DefaultHttpContext context, Exception? exception) => context.Uninitialize();
    }
}
