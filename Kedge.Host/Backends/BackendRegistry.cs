using Kedge.Domain;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Backends.Resolvers;
using Kedge.Host.Forwarding;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Backends;

/// <summary>
/// The live backends of the current configuration. A backend whose definition is the same in the next one lives on, with
/// its endpoints, their health and its connections.
/// </summary>
internal sealed class BackendRegistry(ProxySettings settings, DnsLookup dns, ProxyTelemetry telemetry, ILogger logger) : IDisposable
{
    private readonly ResolverFactory _resolvers = new(dns);
    private readonly UpstreamClients _clients = new(settings.ConnectTimeout);
    private Dictionary<(bool IsGrpc, string Name), Backend> _live = [];

    /// <summary>The client of ad-hoc targets, which are reached in plain text.</summary>
    public UpstreamClient PlainClient(bool isGrpc) => isGrpc ? _plainGrpc : _plainHttp;

    private readonly UpstreamClient _plainHttp = new(null, isGrpc: false, settings.ConnectTimeout);
    private readonly UpstreamClient _plainGrpc = new(null, isGrpc: true, settings.ConnectTimeout);

    /// <summary>The live backends of a configuration, each at its index. What the configuration before had and this one has not ends.</summary>
    public (Backend[] Http, Backend[] Grpc) Apply(Configuration configuration)
    {
        var next = new Dictionary<(bool, string), Backend>();
        var http = Bring(configuration.HttpBackends!, isGrpc: false, next);
        var grpc = Bring(configuration.GrpcBackends!, isGrpc: true, next);
        foreach (var (key, old) in _live)
        {
            if (next.GetValueOrDefault(key) != old)
            {
                if (!next.ContainsKey(key))
                {
                    telemetry.BackendChanged(key.IsGrpc, key.Name, "delete");
                }
                End(old);
            }
        }
        _live = next;
        return (http, grpc);
    }

    public void Dispose()
    {
        foreach (var backend in _live.Values)
        {
            backend.Dispose();
        }
        _live = [];
        _clients.Dispose();
        _plainHttp.Dispose();
        _plainGrpc.Dispose();
    }

    private Backend[] Bring(IReadOnlyList<BackendInfo> infos, bool isGrpc, Dictionary<(bool, string), Backend> next)
    {
        var backends = new Backend[infos.Count];
        for (var i = 0; i < backends.Length; i++)
        {
            var info = infos[i];
            var tls = TlsIdentity.Of(info.Tls);
            if (!_live.TryGetValue((isGrpc, info.Name), out var backend)
                || !backend.Info.Definition.Equals(info.Definition)
                || TlsIdentity.Of(backend.Info.Tls) != tls)
            {
                backend = new Backend(
                    info,
                    isGrpc,
                    _clients.Acquire(tls, isGrpc),
                    HealthPolicy.Of(info.Definition, settings.FailedTargetBackoff),
                    _resolvers.For(info.Resolver),
                    settings.LogResolution,
                    telemetry.CountersOf(isGrpc, info.Name),
                    logger);
                telemetry.BackendChanged(isGrpc, info.Name, _live.ContainsKey((isGrpc, info.Name)) ? "update" : "create");
            }
            backends[i] = next[(isGrpc, info.Name)] = backend;
        }
        return backends;
    }

    private void End(Backend backend)
    {
        backend.Dispose();
        _clients.Release(TlsIdentity.Of(backend.Info.Tls), backend.IsGrpc);
    }
}
