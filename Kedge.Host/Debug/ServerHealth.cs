namespace Kedge.Host.Debug;

/// <summary>The server's state for the health pages: starting, then ready, then draining.</summary>
public sealed class ServerHealth
{
    private volatile bool _ready;
    private volatile bool _draining;

    /// <summary>Whether the server accepts traffic: its configuration is loaded and its listeners are open.</summary>
    public bool IsReady => _ready && !_draining;

    public bool IsDraining => _draining;

    /// <summary>What the server waits for before it is ready; empty = nothing in particular.</summary>
    public string WaitsFor { get; set; } = "";

    /// <summary>Raised when the state changes.</summary>
    public event Action? Changed;

    public void MarkReady()
    {
        _ready = true;
        Changed?.Invoke();
    }

    /// <summary>Cannot be undone.</summary>
    public void MarkDraining()
    {
        _draining = true;
        Changed?.Invoke();
    }
}
