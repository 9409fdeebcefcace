namespace Kedge.Host.Http;

/// <summary>The status codes of gRPC (grpc.io, "Status codes and their use in gRPC").</summary>
public enum GrpcStatus
{
    OK = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// <summary>Properties of <see cref="GrpcStatus"/> as a number, as text and as a metric label.</summary>
public static class GrpcStatuses
{
    /// <summary>The number of codes, which run from 0.</summary>
    public const int Count = 17;

    /// <summary>The value that the specification prescribes for codes that it does not define.</summary>
    public const int Unknown = (int)GrpcStatus.Unknown;

    private static readonly string[] Names =
        Array.ConvertAll(Enum.GetValues<GrpcStatus>(), static status => status.ToString());

    public static bool IsDefined(int code) => (uint)code < Count;

    /// <summary>The name of the code; <c>Unknown</c> when it is not defined.</summary>
    public static string NameOf(int code) => Names[IsDefined(code) ? code : Unknown];

    /// <summary>
    /// Whether the code is an error of the server rather than of the caller, as OpenTelemetry's conventions for gRPC
    /// classify them.
    /// </summary>
    public static bool IsServerError(int code) => (GrpcStatus)code
        is GrpcStatus.Unknown or GrpcStatus.DeadlineExceeded or GrpcStatus.Unimplemented or GrpcStatus.Internal
        or GrpcStatus.Unavailable or GrpcStatus.DataLoss;

    /// <summary>
    /// Whether outlier detection counts the status as a failure of the endpoint: UNKNOWN, INTERNAL and UNAVAILABLE. A
    /// healthy server may respond with any of the other codes.
    /// </summary>
    /// <param name="status">The value of <c>grpc-status</c>.</param>
    public static bool CountsAsFailure(string status) => status is "2" or "13" or "14";
}

/// <summary>The header and trailer names of gRPC over HTTP/2.</summary>
internal static class GrpcHeaders
{
    public const string Status = "grpc-status";
    public const string Message = "grpc-message";
    public const string Timeout = "grpc-timeout";

    /// <summary>When a caller may try again, in milliseconds (gRPC proposal A6).</summary>
    public const string RetryPushback = "grpc-retry-pushback-ms";
}
