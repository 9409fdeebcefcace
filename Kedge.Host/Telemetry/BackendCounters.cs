using Kedge.Domain;
using Kedge.Host.Http;

namespace Kedge.Host.Telemetry;

/// <summary>
/// The counters of one backend and protocol, found before requests need them. They exist as long as the process, so
/// that they never decrease; there are as many as backend names were ever configured.
/// </summary>
public sealed class BackendCounters(Protocol protocol, string name)
{
    // HTTP: a row for each hundred, allocated when it is needed. gRPC: one row.
    private readonly long[]?[] _codes = new long[]?[6];
    private int _inFlight;

    public string Name { get; } = name;

    public Protocol Protocol { get; } = protocol;

    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>The labels, allocated once.</summary>
    public KeyValuePair<string, object?>[] Labels { get; } =
        [new("protocol", protocol.Section), new("backend_name", name)];

    public void Started() => Interlocked.Increment(ref _inFlight);

    public void Ended() => Interlocked.Decrement(ref _inFlight);

    /// <summary>Counts an HTTP status or a gRPC code.</summary>
    public void Count(int code)
    {
        var (row, column) = Protocol.IsGrpc
            ? (0, GrpcStatuses.IsDefined(code) ? code : GrpcStatuses.Unknown)
            : code is >= 100 and < 600 ? (code / 100, code % 100) : (0, 0);
        var counts = Volatile.Read(ref _codes[row])
            ?? Interlocked.CompareExchange(ref _codes[row], new long[Protocol.IsGrpc ? GrpcStatuses.Count : 100], null)
            ?? _codes[row]!;
        Interlocked.Increment(ref counts[column]);
    }

    /// <summary>Every code that was counted, as text, with its count.</summary>
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
                    yield return (
                        Protocol.IsGrpc ? GrpcStatuses.NameOf(column) : (row * 100 + column).ToString(), count);
                }
            }
        }
    }
}
