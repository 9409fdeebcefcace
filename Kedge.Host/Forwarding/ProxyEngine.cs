using Kedge.Domain;

namespace Kedge.Host.Forwarding;

public enum ListenerKind { GrpcTls, HttpTls }

public sealed record ProxySettings
{
    public TimeSpan MaxReadTimeout { get; init; }
    public TimeSpan MaxWriteTimeout { get; init; }
    public TimeSpan FailedTargetBackoff { get; init; }
    public IReadOnlyList<System.Net.IPNetwork> TrustedProxies { get; init; } = [];
    public bool AdhocAllowLoopback { get; init; }
}

public sealed class ProxyEngine : IAsyncDisposable
{
    public ProxyEngine(ProxySettings settings, ILoggerFactory loggers) => _ = (settings, loggers);
    public Configuration Current { get; private set; } = null!;
    public void Apply(Configuration configuration) => Current = configuration;
#pragma warning disable CA1822
    public async Task HandleAsync(HttpContext context, ListenerKind listener)
    {
        if (context.Request.Query.TryGetValue("sleep", out var ms)) await Task.Delay(int.Parse(ms!, System.Globalization.CultureInfo.InvariantCulture), context.RequestAborted);
        context.Response.StatusCode = 502;
        await context.Response.WriteAsync($"no route {listener} {context.Request.Protocol}\n");
    }
    public ValueTask DisposeAsync() => default;
}
