using System.Diagnostics.Metrics;
using System.Net.Sockets;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Telemetry;

/// <summary>
/// Counts the connections that were opened for the requests of one backend. Like the Go implementation, it
/// distinguishes only a few reasons for failures.
/// </summary>
/// <param name="name">As the Go implementation names it: <c>http_backend_NAME</c> or <c>grpc_backend_NAME</c>.</param>
/// <param name="backend">The name of the backend.</param>
/// <param name="handshakes">Records how long connections took to open.</param>
internal sealed class DialerCounters(string name, string backend, Histogram<double> handshakes) : ConnectionObserver
{
    private static readonly string[] Reasons = ["refused", "timeout", "unknown"];

    // RFC 9113, 7, defines codes 0 to 13; all higher codes count as the last one.
    private const int Codes = 15;

    private readonly long[] _failed = new long[Reasons.Length];
    private readonly long[] _resetsByBackend = new long[Codes];
    private readonly long[] _resetsByProxy = new long[Codes];
    private readonly long[] _goAways = new long[Codes];
    private long _attempted;
    private long _established;
    private long _closed;

    public string Name { get; } = name;

    public string Backend { get; } = backend;

    public long Attempted => Volatile.Read(ref _attempted);

    public long Established => Volatile.Read(ref _established);

    public long Closed => Volatile.Read(ref _closed);

    /// <summary>Failed attempts by their reason.</summary>
    public IEnumerable<(string Reason, long Count)> Failed() =>
        Reasons.Select((reason, index) => (reason, Volatile.Read(ref _failed[index])));

    /// <summary>HTTP/2 streams that were reset, by code and by the side that reset them.</summary>
    public IEnumerable<(string Code, string By, long Count)> Resets() =>
        Counted(_resetsByBackend).Select(entry => (entry.Code, "backend", entry.Count))
            .Concat(Counted(_resetsByProxy).Select(entry => (entry.Code, "kedge", entry.Count)));

    /// <summary>HTTP/2 connections that the backend ended, by code.</summary>
    public IEnumerable<(string Code, long Count)> GoAways() => Counted(_goAways);

    public override void Dialing() => Interlocked.Increment(ref _attempted);

    public override void Dialed(TimeSpan duration)
    {
        Interlocked.Increment(ref _established);
        handshakes.Record(duration.TotalSeconds);
    }

    public override void DialFailed(Exception cause)
    {
        var reason = cause is TimeoutException ? 1
            : (cause as SocketException ?? cause.InnerException as SocketException)?.SocketErrorCode switch
            {
                SocketError.ConnectionRefused => 0,
                SocketError.TimedOut => 1,
                _ => 2,
            };
        Interlocked.Increment(ref _failed[reason]);
    }

    public override void ConnectionClosed() => Interlocked.Increment(ref _closed);

    public override void StreamReset(uint code, bool byPeer) =>
        Interlocked.Increment(ref (byPeer ? _resetsByBackend : _resetsByProxy)[Math.Min(code, Codes - 1)]);

    public override void GoAway(uint code) => Interlocked.Increment(ref _goAways[Math.Min(code, Codes - 1)]);

    private static IEnumerable<(string Code, long Count)> Counted(long[] counts)
    {
        for (var code = 0; code < counts.Length; code++)
        {
            // One code is always reported, so that the metric exists from the start.
            if (Volatile.Read(ref counts[code]) is var count && (count > 0 || code == 0))
            {
                yield return (code == Codes - 1 ? "other" : code.ToString(), count);
            }
        }
    }
}
