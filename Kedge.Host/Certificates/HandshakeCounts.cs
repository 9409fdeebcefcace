using System.Security.Authentication;

namespace Kedge.Host.Certificates;

/// <summary>The number of successful handshakes with one certificate, by TLS version.</summary>
public sealed class HandshakeCounts
{
    private long _tls12;
    private long _tls13;

    /// <summary>The counts, with the versions as the metrics name them.</summary>
    public IEnumerable<(string Version, long Count)> All =>
        [("1.2", Volatile.Read(ref _tls12)), ("1.3", Volatile.Read(ref _tls13))];

    public void Count(SslProtocols version) =>
        Interlocked.Increment(ref version == SslProtocols.Tls13 ? ref _tls13 : ref _tls12);
}
