using Kedge.Domain;
using Kedge.Domain.Discovery;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// What discovery knows about the cluster, kept up to date by the watch of services. Call <see cref="Generate"/> when
/// the files have changed, and whenever <see cref="Changed"/> reports that services have.
/// </summary>
public sealed class DiscoverySource : IWatchSink<Service>
{
    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _firstList = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Coalescer _coalescer;
    private readonly ILogger _logger;
    private DiscoveryState _state;
    private LoadedFiles _files = LoadedFiles.Empty;
    private Generated? _generated;
    private DiscoveryState? _generatedFrom;

    internal DiscoverySource(DiscoveryOptions options, TimeProvider time, ILogger logger)
    {
        _logger = logger;
        _state = DiscoveryState.Create(options, _files);
        _coalescer = new Coalescer(
            TimeSpan.FromMilliseconds(300), TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1), time);
    }

    /// <summary>
    /// Raised when services have changed, once for a burst of changes. Never raised before the first complete list.
    /// </summary>
    public event Action? Changed;

    /// <summary>Completes with the first complete list.</summary>
    public Task FirstList => _firstList.Task;

    /// <summary>How many services are known.</summary>
    public int ServiceCount
    {
        get
        {
            lock (_lock)
            {
                return _state.ServiceCount;
            }
        }
    }

    /// <summary>
    /// The entries that the services generate in addition to these files. Returns the same object as before if nothing
    /// changed, so that nothing needs to be published. Empty before the first complete list.
    /// </summary>
    public Generated Generate(LoadedFiles files)
    {
        lock (_lock)
        {
            if (!ReferenceEquals(files, _files))
            {
                _files = files;
                _state = _state.WithFiles(files);
            }
            if (_generated is null || !ReferenceEquals(_state, _generatedFrom))
            {
                var next = _state.Generate()!;
                _generated = _generated is not null && next.IsSame(_generated) ? _generated : next;
                _generatedFrom = _state;
            }
            return _generated;
        }
    }

    internal Task RunAsync(CancellationToken stop) => _coalescer.RunAsync(Notify, stop);

    void IWatchSink<Service>.Replace(IReadOnlyList<Service> all)
    {
        Advance(state => state.Replace(all)!);
        _firstList.TrySetResult();
    }

    void IWatchSink<Service>.Upsert(Service item) => Advance(state => state.Upsert(item)!);

    void IWatchSink<Service>.Delete(Service item) => Advance(state => state.Delete(item.Key)!);

    private void Notify()
    {
        try
        {
            Changed?.Invoke();
        }
        catch (Exception e)
        {
            // The next attempt may succeed: discovery must not end.
            _logger.LogError(e, "failed to process a change of services");
        }
    }

    private void Advance(Func<DiscoveryState, DiscoveryState> step)
    {
        lock (_lock)
        {
            _state = step(_state);
        }
        _coalescer.Signal();
    }
}
