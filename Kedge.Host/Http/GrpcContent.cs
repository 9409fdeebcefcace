namespace Kedge.Host.Http;

/// <summary>Tells gRPC from other content.</summary>
internal static class GrpcContent
{
    private const string Grpc = "application/grpc";
    private const string GrpcWeb = "application/grpc-web";

    /// <summary>gRPC-Web is not gRPC: it goes the HTTP way.</summary>
    public static bool IsGrpc(string? contentType) =>
        contentType is not null
        && contentType.StartsWith(Grpc, StringComparison.OrdinalIgnoreCase)
        && !contentType.StartsWith(GrpcWeb, StringComparison.OrdinalIgnoreCase);
}
