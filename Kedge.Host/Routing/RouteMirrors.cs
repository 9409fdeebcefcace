using Kedge.Domain;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Routing;

/// <summary>Chooses which requests of a route to copy to its mirrors.</summary>
internal sealed class RouteMirrors
{
    private readonly (MirrorTarget Target, MirrorCounters Counters)[] _mirrors;
    private readonly SplitKeys? _keys;
    private readonly MirrorAgreement? _agreement;

    /// <param name="route">A route with mirrors.</param>
    /// <param name="telemetry">Counts the copies and, for a named route, how the responses compare.</param>
    public RouteMirrors(Protocol protocol, RouteInfo route, ProxyTelemetry telemetry)
    {
        _mirrors = Array.ConvertAll(
            route.Mirrors!, target => (target, telemetry.MirrorOf(target.Choice.Mirror.Backend)));
        _keys = route.Split?.Choice.Split.Key is { Value: var key } ? new SplitKeys(key) : null;
        _agreement = route.Name.Length > 0 ? telemetry.MirrorAgreementOf(protocol, route.Name) : null;
    }

    /// <summary>Chooses the copies of a request; null = none.</summary>
    /// <param name="backends">The backends of the request's protocol.</param>
    public RequestMirrors? Choose(
        HttpContext context, in RequestView view, ClientAddresses clients, Backend[] backends)
    {
        ulong key = 0;
        var hasKey = _keys?.TryHash(context, view, clients, out key) == true;
        RequestMirrors? chosen = null;
        foreach (var (target, counters) in _mirrors)
        {
            var mirror = target.Choice.Mirror;
            if (!mirror.Allows(context.Request.Method)
                || !(hasKey
                    ? target.Choice.ByKey(key)
                    : target.Choice.ByDraw((ulong)Random.Shared.NextInt64(long.MinValue, long.MaxValue))))
            {
                continue;
            }
            chosen ??= new RequestMirrors(view.Protocol, _agreement);
            chosen.Add(mirror, target.BackendIndex < 0 ? null : backends[target.BackendIndex], counters);
        }
        return chosen;
    }
}
