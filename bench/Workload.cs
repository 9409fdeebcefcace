namespace Kedge.Bench;

/// <summary>One kind of load.</summary>
/// <param name="Message">The file with what is sent, of a gRPC call.</param>
/// <param name="Requests">Number of requests in one measured run at scale 1.</param>
internal sealed record Workload(
    string Name,
    string Title,
    int Requests,
    bool Grpc,
    string[] H2loadArguments,
    string Path,
    string Message = "request.grpc")
{
    public static readonly Workload[] All =
    [
        new("h1", "HTTP/1.1, kept alive", 30_000, false, ["--h1", "-c", "32"], "/small"),
        new("h2", "HTTP/2", 30_000, false, ["-c", "8", "-m", "8"], "/small"),
        new(
            "grpc",
            "gRPC unary",
            30_000,
            true,
            ["-c", "8", "-m", "8", "-H", "content-type: application/grpc", "-H", "te: trailers"],
            "/kedge.bench.Echo/Unary"),
        new("64k", "64 KiB responses, HTTP/1.1", 10_000, false, ["--h1", "-c", "16"], "/64k"),
        new(
            "connect",
            "a new connection for each request",
            2_000,
            false,
            ["--h1", "-c", "16", "-H", "connection: close"],
            "/small"),
        new(
            "early",
            "gRPC, answered early",
            10_000,
            true,
            ["-c", "8", "-m", "8", "-H", "content-type: application/grpc", "-H", "te: trailers"],
            "/kedge.bench.Echo/Early",
            "early.grpc"),
    ];
}
