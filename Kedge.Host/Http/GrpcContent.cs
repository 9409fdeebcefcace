namespace Kedge.Host.Http;

/// <summary>Recognizes gRPC by its content type.</summary>
internal static class GrpcContent
{
    private const string Grpc = "application/grpc";
    private const string GrpcWeb = "application/grpc-web";

    /// <summary>False for gRPC-Web, which is proxied as HTTP.</summary>
    public static bool IsGrpc(string? contentType) =>
        contentType is not null
        && contentType.StartsWith(Grpc, StringComparison.OrdinalIgnoreCase)
        && !contentType.StartsWith(GrpcWeb, StringComparison.OrdinalIgnoreCase);
}
