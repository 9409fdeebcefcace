namespace Kedge.Host.Http;

/// <summary>The headers that kedge itself reads, sets or removes.</summary>
internal static class ProxyHeaders
{
    /// <summary>Why kedge itself responded, in words.</summary>
    public const string Error = "X-Kedge-Error";

    /// <summary>Why kedge itself responded, for programs.</summary>
    public const string ErrorType = "X-Kedge-Error-Type";

    /// <summary>The backend of a response.</summary>
    public const string BackendName = "X-Kedge-Backend-Name";

    /// <summary>How often the request was sent, if more than once.</summary>
    public const string Attempts = "X-Kedge-Attempts";

    /// <summary>Identifies the request in logs, both of kedge and of backends.</summary>
    public const string RequestId = "X-Kedge-Request-ID";

    /// <summary>A caller sends it to have its request logged.</summary>
    public const string InfoLogs = "X-Kedge-Info-Logs";

    /// <summary>Marks a request as a copy, whose response is dropped.</summary>
    public const string Mirror = "X-Kedge-Mirror";

    public const string RateLimit = "RateLimit";
    public const string RateLimitPolicy = "RateLimit-Policy";

    public const string ForwardedFor = "X-Forwarded-For";
    public const string ForwardedHost = "X-Forwarded-Host";
    public const string ForwardedProto = "X-Forwarded-Proto";
    public const string ForwardedClientCert = "X-Forwarded-Client-Cert";
}
