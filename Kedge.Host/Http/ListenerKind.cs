namespace Kedge.Host.Http;

/// <summary>Which of the two proxy listeners a request came in by.</summary>
public enum ListenerKind
{
    /// <summary>gRPC only; anything else gets 415.</summary>
    GrpcTls,

    /// <summary>HTTP/1.1 and h2; gRPC requests are handled as gRPC.</summary>
    HttpTls,
}
