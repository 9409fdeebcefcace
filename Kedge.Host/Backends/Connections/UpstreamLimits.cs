using Kedge.Host.Flags;
using Kedge.Wire.Http1;
using Kedge.Wire.Http2;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Backends.Connections;

/// <summary>The limits of all connections to backends, and the budget that they share.</summary>
internal sealed class UpstreamLimits(ForwardingOptions options)
{
    public ConnectionBudget Budget { get; } = new(options.MaxBackendConnections);

    public PoolOptions Pool { get; } = new()
    {
        MaxConnections = options.MaxEndpointConnections,
        MaxWait = options.MaxWait > TimeSpan.Zero ? options.MaxWait : Timeout.InfiniteTimeSpan,
        ConnectTimeout = UpstreamClient.ConnectTimeout,
    };

    public Http1Options Http1 { get; } = new() { MaxHeadBytes = options.MaxResponseHeaderBytes };

    public Http2Options Http2 { get; } = new() { MaxHeaderListSize = options.MaxResponseHeaderBytes };
}
