using Kedge.Host.Http;

namespace Kedge.Host.Telemetry;

/// <summary>
/// The counters of one backend and protocol, resolved before requests need them. They live as long as the process, so
/// that they never go back; there are as many as backend names were ever configured.
/// </summary>
public sealed class BackendCounters(bool isGrpc, string name)
{
    // HTTP: by the hundred, then by what is over. gRPC: one row.
    private readonly long[]?[] _codes = new long[]?[6];
    private int _inFlight;

    public bool IsGrpc { get; } = isGrpc;

    public string Name { get; } = name;

    public string Protocol => IsGrpc ? "grpc" : "http";

    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>The labels, made once.</summary>
    public KeyValuePair<string, object?>[] Labels { get; } =
        [new("protocol", isGrpc ? "grpc" : "http"), new("backend_name", name)];

    public void Started() => Interlocked.Increment(ref _inFlight);

    public void Ended() => Interlocked.Decrement(ref _inFlight);

    /// <summary>Counts an HTTP status or a gRPC code.</summary>
    public void Count(int code)
    {
        var (row, column) = IsGrpc
            ? (0, GrpcStatuses.IsDefined(code) ? code : GrpcStatuses.Unknown)
            : code is >= 100 and < 600 ? (code / 100, code % 100) : (0, 0);
        var counts = Volatile.Read(ref _codes[row])
            ?? Interlocked.CompareExchange(ref _codes[row], new long[IsGrpc ? GrpcStatuses.Count : 100], null)
            ?? _codes[row]!;
        Interlocked.Increment(ref counts[column]);
    }

    /// <summary>Every code that was counted, as it is written, with its count.</summary>
    public IEnumerable<(string Code, long Count)> Codes()
    {
        for (var row = 0; row < _codes.Length; row++)
        {
            if (Volatile.Read(ref _codes[row]) is not { } counts)
            {
                continue;
            }
            for (var column = 0; column < counts.Length; column++)
            {
                if (Volatile.Read(ref counts[column]) is > 0 and var count)
                {
                    yield return (IsGrpc ? GrpcStatuses.NameOf(column) : (row * 100 + column).ToString(), count);
                }
            }
        }
    }
}

/// <summary>The counters of one gRPC method.</summary>
public sealed class GrpcMethodCounters(string service, string method)
{
    private readonly long[] _handled = new long[GrpcStatuses.Count];
    private long _started;

    public string Service { get; } = service;

    public string Method { get; } = method;

    public long Started => Volatile.Read(ref _started);

    public void Start() => Interlocked.Increment(ref _started);

    public void Handle(int code) => Interlocked.Increment(ref _handled[GrpcStatuses.IsDefined(code) ? code : GrpcStatuses.Unknown]);

    public long Handled(int code) => Volatile.Read(ref _handled[code]);
}

/// <summary>
/// The counters of gRPC methods, found by path. The names are the caller's: only calls that a route took are counted,
/// and beyond a bound they are counted together.
/// </summary>
public sealed class GrpcMethods
{
    private const int MostMethods = 2000;
    private const int LongestPath = 200;
    private static readonly char[] Separator = ['/'];

    private readonly System.Collections.Concurrent.ConcurrentDictionary<string, GrpcMethodCounters> _byPath = new(
        StringComparer.Ordinal);
    private readonly GrpcMethodCounters _others = new("other", "other");
    private int _count;

    /// <summary>All of them, the one for the others last.</summary>
    public IEnumerable<GrpcMethodCounters> All =>
        _byPath.Values.Append(_others).Where(counters => counters.Started > 0);

    public GrpcMethodCounters Of(string path) =>
        _byPath.TryGetValue(path, out var known) ? known : Add(path);

    private GrpcMethodCounters Add(string path)
    {
        if (path.Length > LongestPath
            || path.Split(Separator) is not ["", { Length: > 0 } service, { Length: > 0 } method])
        {
            return _others;
        }
        if (Interlocked.Increment(ref _count) > MostMethods)
        {
            Interlocked.Decrement(ref _count);
            return _others;
        }
        var added = new GrpcMethodCounters(service, method);
        var stored = _byPath.GetOrAdd(path, added);
        if (stored != added)
        {
            Interlocked.Decrement(ref _count);
        }
        return stored;
    }
}

/// <summary>The connections of one listener.</summary>
public sealed class ListenerCounters(ListenerKind listener)
{
    private long _accepted;
    private long _closed;

    public ListenerKind Listener { get; } = listener;

    public string Name { get; } = listener.Name();

    public long Accepted => Volatile.Read(ref _accepted);

    public long Closed => Volatile.Read(ref _closed);

    public void Accept() => Interlocked.Increment(ref _accepted);

    public void Close() => Interlocked.Increment(ref _closed);
}

/// <summary>The latest so many of something. Writers never wait.</summary>
public sealed class Recent<T>(int capacity)
    where T : class
{
    private readonly T?[] _items = new T?[capacity];
    private long _count;

    public void Add(T item) =>
        Volatile.Write(ref _items[(int)((ulong)(Interlocked.Increment(ref _count) - 1) % (ulong)_items.Length)], item);

    /// <summary>The newest first.</summary>
    public IReadOnlyList<T> Latest()
    {
        var end = Volatile.Read(ref _count);
        var latest = new List<T>(_items.Length);
        for (var i = end - 1; i >= 0 && i > end - 1 - _items.Length; i--)
        {
            if (Volatile.Read(ref _items[(int)((ulong)i % (ulong)_items.Length)]) is { } item)
            {
                latest.Add(item);
            }
        }
        return latest;
    }
}
