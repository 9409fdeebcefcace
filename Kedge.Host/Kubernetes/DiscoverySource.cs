using Kedge.Domain;
using Kedge.Domain.Discovery;

namespace Kedge.Host.Kubernetes;

/// <summary>
/// What discovery knows of the cluster, kept up to date by the watch of services. Whoever builds configurations calls
/// <see cref="Generate"/> when the files have changed and when <see cref="Changed"/> says that services have.
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
        _coalescer = new Coalescer(TimeSpan.FromMilliseconds(300), TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1), time);
    }

    /// <summary>Services have changed; bursts make one call. Never before the first full list.</summary>
    public event Action? Changed;

    /// <summary>Completes when the first full list is in.</summary>
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
    /// What the services make beside these files. The same object as before when it is equal: then nothing needs to be
    /// published. Empty before the first full list.
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

    internal Task RunAsync(CancellationToken stop) => _coalescer.RunAsync(Tell, stop);

    void IWatchSink<Service>.Replace(IReadOnlyList<Service> all)
    {
        Advance(state => state.Replace(all)!);
        _firstList.TrySetResult();
    }

    void IWatchSink<Service>.Upsert(Service item) => Advance(state => state.Upsert(item)!);

    void IWatchSink<Service>.Delete(Service item) => Advance(state => state.Delete(item.Key)!);

    private void Tell()
    {
        try
        {
            Changed?.Invoke();
        }
        catch (Exception e)
        {
            // What fails now may be right the next time: discovery must not end.
            _logger.LogError(e, "a change of services could not be handled");
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
