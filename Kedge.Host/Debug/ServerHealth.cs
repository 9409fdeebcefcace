namespace Kedge.Host.Debug;

/// <summary>What the health pages tell of the server's life: starting, then ready, then draining.</summary>
public sealed class ServerHealth
{
    private volatile bool ready;
    private volatile bool draining;

    /// <summary>Whether traffic may come: the configuration is loaded and the listeners are open.</summary>
    public bool IsReady => ready && !draining;

    public bool IsDraining => draining;

    /// <summary>Something of it is another now.</summary>
    public event Action? Changed;

    public void MarkReady()
    {
        ready = true;
        Changed?.Invoke();
    }

    /// <summary>There is no way back.</summary>
    public void MarkDraining()
    {
        draining = true;
        Changed?.Invoke();
    }
}
