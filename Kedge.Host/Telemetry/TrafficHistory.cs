namespace Kedge.Host.Telemetry;

/// <summary>The traffic in one period of <see cref="TrafficHistory.Period"/>.</summary>
/// <param name="Requests">Per second.</param>
/// <param name="Errors">Per second.</param>
/// <param name="P50">In milliseconds.</param>
/// <param name="P99">In milliseconds.</param>
public readonly record struct TrafficPoint(double Requests, double Errors, double P50, double P99);

/// <summary>
/// The traffic of the last 15 minutes, of each backend and of all together, for pages. Uses 3 KB for each backend
/// that had a request in that time.
/// </summary>
public sealed class TrafficHistory : IDisposable
{
    /// <summary>How long one point lasts.</summary>
    public static readonly TimeSpan Period = TimeSpan.FromSeconds(10);

    /// <summary>How many points are kept.</summary>
    public const int Points = 90;

    private readonly ProxyTelemetry _telemetry;
    private readonly Timer _timer;
    private readonly Lock _lock = new();
    private readonly Dictionary<BackendCounters, Series> _backends = [];
    private readonly Ring _all = new();

    public TrafficHistory(ProxyTelemetry telemetry)
    {
        _telemetry = telemetry;
        _timer = new Timer(static history => ((TrafficHistory)history!).Sample(), this, Period, Period);
    }

    /// <summary>The points of all backends together, the oldest first.</summary>
    public TrafficPoint[] All
    {
        get
        {
            lock (_lock)
            {
                return _all.Points();
            }
        }
    }

    /// <summary>The points of one backend, the oldest first; empty when it had no request in that time.</summary>
    public TrafficPoint[] Of(BackendCounters backend)
    {
        lock (_lock)
        {
            return _backends.TryGetValue(backend, out var series) && series.Ring is { } ring ? ring.Points() : [];
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Sample()
    {
        var sum = new long[TrafficCounters.Buckets];
        long errors = 0;
        lock (_lock)
        {
            foreach (var backend in _telemetry.Backends)
            {
                var requests = backend.Traffic.ByDuration();
                if (!_backends.TryGetValue(backend, out var series))
                {
                    if (Array.TrueForAll(requests, static count => count == 0))
                    {
                        continue;
                    }
                    _backends[backend] = series = new();
                }
                errors += series.Add(requests, backend.Traffic.Errors, sum);
            }
            _all.Add(PointOf(sum, errors));
        }
    }

    private static TrafficPoint PointOf(long[] byDuration, long errors) => new(
        byDuration.Sum() / Period.TotalSeconds,
        errors / Period.TotalSeconds,
        TrafficCounters.QuantileMilliseconds(byDuration, 0.5),
        TrafficCounters.QuantileMilliseconds(byDuration, 0.99));

    private sealed class Series
    {
        private long[] _before = new long[TrafficCounters.Buckets];
        private long _errorsBefore;
        private int _idle;

        /// <summary>Null when there was no request for as long as points are kept.</summary>
        public Ring? Ring { get; private set; }

        /// <summary>Adds the point of one period, and its requests to a sum.</summary>
        /// <returns>The errors of the period.</returns>
        public long Add(long[] requests, long errors, long[] sum)
        {
            var period = new long[requests.Length];
            var isIdle = true;
            for (var i = 0; i < period.Length; i++)
            {
                period[i] = requests[i] - _before[i];
                sum[i] += period[i];
                isIdle &= period[i] == 0;
            }
            var failed = errors - _errorsBefore;
            (_before, _errorsBefore) = (requests, errors);
            _idle = isIdle ? _idle + 1 : 0;
            if (_idle >= Points)
            {
                Ring = null;
            }
            else
            {
                (Ring ??= new()).Add(PointOf(period, failed));
            }
            return failed;
        }
    }

    private sealed class Ring
    {
        private readonly TrafficPoint[] _points = new TrafficPoint[TrafficHistory.Points];
        private int _count;
        private int _next;

        public void Add(TrafficPoint point)
        {
            _points[_next] = point;
            _next = (_next + 1) % _points.Length;
            _count = Math.Min(_count + 1, _points.Length);
        }

        public TrafficPoint[] Points()
        {
            var points = new TrafficPoint[_count];
            for (var i = 0; i < _count; i++)
            {
                points[i] = _points[(_next - _count + i + _points.Length) % _points.Length];
            }
            return points;
        }
    }
}
