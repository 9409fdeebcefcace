using Kedge.Host.Http;

namespace Kedge.Host.Telemetry;

/// <summary>Why a TLS handshake with a caller failed.</summary>
public enum HandshakeFailure
{
    /// <summary>The caller sent no certificate, and one is required.</summary>
    NoClientCertificate,

    /// <summary>The caller's certificate is not valid.</summary>
    ClientCertificate,

    /// <summary>No certificate is for the name that the caller asked for.</summary>
    UnknownName,

    /// <summary>What the caller sent is not TLS.</summary>
    NotTls,

    /// <summary>
    /// The two sides have no version, cipher or protocol in common, or the caller violated the protocol.
    /// </summary>
    Protocol,

    /// <summary>The caller refused, for example because it does not trust the server's certificate.</summary>
    Alert,

    /// <summary>It took too long, or its connection was abandoned.</summary>
    Timeout,

    /// <summary>The caller closed the connection.</summary>
    Closed,
}

/// <summary>Counts failed handshakes by listener and reason.</summary>
public sealed class HandshakeFailures
{
    private static readonly ListenerKind[] Kinds = [ListenerKind.GrpcTls, ListenerKind.HttpTls];

    private readonly long[,] _counts = new long[Kinds.Length, Enum.GetValues<HandshakeFailure>().Length];

    /// <summary>All counts, including zeros.</summary>
    public IEnumerable<(ListenerKind Listener, HandshakeFailure Reason, long Count)> All =>
        from index in Enumerable.Range(0, Kinds.Length)
        from reason in Enum.GetValues<HandshakeFailure>()
        select (Kinds[index], reason, Volatile.Read(ref _counts[index, (int)reason]));

    public void Count(ListenerKind listener, HandshakeFailure reason) =>
        Interlocked.Increment(ref _counts[Array.IndexOf(Kinds, listener), (int)reason]);
}

/// <summary>The names of reasons.</summary>
public static class HandshakeFailureNames
{
    /// <summary>The name in metrics and in the log.</summary>
    public static string Label(this HandshakeFailure reason) => reason switch
    {
        HandshakeFailure.NoClientCertificate => "no_client_certificate",
        HandshakeFailure.ClientCertificate => "client_certificate",
        HandshakeFailure.UnknownName => "unknown_name",
        HandshakeFailure.NotTls => "not_tls",
        HandshakeFailure.Protocol => "protocol",
        HandshakeFailure.Alert => "alert",
        HandshakeFailure.Timeout => "timeout",
        _ => "closed",
    };
}
