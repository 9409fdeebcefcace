namespace Kedge.Host.Http;

/// <summary>The gRPC status codes that kedge itself gives.</summary>
public enum GrpcStatus
{
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}
