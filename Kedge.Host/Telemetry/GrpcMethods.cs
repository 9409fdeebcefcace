using System.Collections.Concurrent;
using Kedge.Host.Http;

namespace Kedge.Host.Telemetry;

/// <summary>
/// The counters of gRPC methods, by path. Callers choose the names, so only calls that match a rule are counted, and
/// methods beyond a limit are counted together.
/// </summary>
public sealed class GrpcMethods
{
    private const int MaxMethods = 2000;
    private const int MaxPathLength = 200;

    private readonly ConcurrentDictionary<string, GrpcMethodCounters> _byPath = new(StringComparer.Ordinal);
    private readonly GrpcMethodCounters _others = new("other", "other");
    private int _count;

    /// <summary>The counters of all methods; the last one is for methods beyond the limit.</summary>
    public IEnumerable<GrpcMethodCounters> All =>
        _byPath.Values.Append(_others).Where(counters => counters.Started > 0);

    public GrpcMethodCounters Of(string path) =>
        _byPath.TryGetValue(path, out var known) ? known : Add(path);

    private GrpcMethodCounters Add(string path)
    {
        if (path.Length > MaxPathLength
            || path.Split('/') is not ["", { Length: > 0 } service, { Length: > 0 } method])
        {
            return _others;
        }
        if (Interlocked.Increment(ref _count) > MaxMethods)
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

/// <summary>The counters of one gRPC method.</summary>
public sealed class GrpcMethodCounters(string service, string method)
{
    private readonly long[] _handled = new long[GrpcStatuses.Count];
    private long _started;
    private long _received;
    private long _sent;

    public string Service { get; } = service;

    public string Method { get; } = method;

    public long Started => Volatile.Read(ref _started);

    /// <summary>Messages received from the peer.</summary>
    public long Received => Volatile.Read(ref _received);

    /// <summary>Messages sent to the peer.</summary>
    public long Sent => Volatile.Read(ref _sent);

    public void Start() => Interlocked.Increment(ref _started);

    public void Receive(int messages) => Interlocked.Add(ref _received, messages);

    public void Send(int messages) => Interlocked.Add(ref _sent, messages);

    public void Handle(int code) =>
        Interlocked.Increment(ref _handled[GrpcStatuses.IsDefined(code) ? code : GrpcStatuses.Unknown]);

    public long Handled(int code) => Volatile.Read(ref _handled[code]);
}
