namespace Kedge.Host.Demo;

public sealed class DemoBackends : IAsyncDisposable
{
    public static Task<DemoBackends> StartAsync() => Task.FromResult(new DemoBackends());
#pragma warning disable CA1822
    public string DirectorJson => "{}";
    public string BackendPoolJson => "{}";
    public ValueTask DisposeAsync() => default;
}
