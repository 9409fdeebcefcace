namespace Kedge.Host.Http;

/// <summary>The listeners of the server.</summary>
public enum ListenerKind
{
    /// <summary>Proxies gRPC only; anything else gets 415.</summary>
    GrpcTls,

    /// <summary>Proxies HTTP/1.1 and HTTP/2; gRPC requests are handled as gRPC.</summary>
    HttpTls,

    /// <summary>Proxies HTTP and gRPC without TLS, for the routes that allow it.</summary>
    HttpClear,

    /// <summary>The debug port.</summary>
    HttpPlain,

    /// <summary>grpc.health.v1 on a separate port.</summary>
    GrpcHealth,
}

/// <summary>The names of listeners.</summary>
public static class ListenerNames
{
    /// <summary>The name in metrics and in the log.</summary>
    public static string Name(this ListenerKind kind) => kind switch
    {
        ListenerKind.GrpcTls => "grpc_tls",
        ListenerKind.HttpTls => "http_tls",
        ListenerKind.HttpClear => "http_clear",
        ListenerKind.HttpPlain => "http_plain",
        ListenerKind.GrpcHealth => "grpc_health",
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, null),
    };
}
