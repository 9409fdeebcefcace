namespace Kedge.Domain

open System

/// The content types of gRPC.
[<RequireQualifiedAccess>]
module GrpcContent =

    /// Whether a request with this `Content-Type` (null = none) is a gRPC call. gRPC-Web is not: it is handled as HTTP.
    /// Never allocates.
    [<CompiledName "IsGrpc">]
    let isGrpc (contentType: string | null) : bool =
        match contentType with
        | null -> false
        | contentType ->
            contentType.StartsWith("application/grpc", StringComparison.OrdinalIgnoreCase)
            && not (contentType.StartsWith("application/grpc-web", StringComparison.OrdinalIgnoreCase))
