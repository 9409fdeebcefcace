using Kedge.Domain;
using Kedge.Host.Http;

namespace Kedge.Host.Telemetry;

/// <summary>Requests counted by HTTP status or gRPC code.</summary>
/// <param name="protocol">The protocol of the codes.</param>
public sealed class CodeCounts(Protocol protocol)
{
    // HTTP: a row for each hundred, allocated when it is needed. gRPC: one row.
    private readonly long[]?[] _codes = new long[]?[6];

    /// <summary>Counts an HTTP status or a gRPC code.</summary>
    public void Count(int code)
    {
        var (row, column) = protocol.IsGrpc
            ? (0, GrpcStatuses.IsDefined(code) ? code : GrpcStatuses.Unknown)
            : code is >= 100 and < 600 ? (code / 100, code % 100) : (0, 0);
        var counts = Volatile.Read(ref _codes[row])
            ?? Interlocked.CompareExchange(ref _codes[row], new long[protocol.IsGrpc ? GrpcStatuses.Count : 100], null)
            ?? _codes[row]!;
        Interlocked.Increment(ref counts[column]);
    }

    /// <summary>Every code that was counted, as text, with its count.</summary>
    public IEnumerable<(string Code, long Count)> All()
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
                        protocol.IsGrpc ? GrpcStatuses.NameOf(column) : (row * 100 + column).ToString(), count);
                }
            }
        }
    }
}
