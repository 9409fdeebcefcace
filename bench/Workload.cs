using System.Globalization;

namespace Kedge.Bench;

/// <summary>One kind of load.</summary>
/// <param name="Message">The file with the message of a gRPC call.</param>
/// <param name="Requests">
/// Number of requests in one measured run at scale 1. A run takes some seconds: in a shorter one, the compilation of
/// hot code, which ends soon after a start, would be a large part of what is measured.
/// </param>
/// <param name="SoakRate">
/// Requests per second in a soak; together, the workloads keep two cores about half busy.
/// </param>
internal sealed record Workload(
    string Name,
    string Title,
    int Requests,
    int SoakRate,
    bool Grpc,
    int Connections,
    string[] MoreArguments,
    string Path,
    string Message = "request.grpc")
{
    public string[] H2loadArguments =>
        ["-c", Connections.ToString(CultureInfo.InvariantCulture), .. MoreArguments];

    public static readonly Workload[] All =
    [
        new("h1", "HTTP/1.1, kept alive", 60_000, 1_600, false, 32, ["--h1"], "/small"),
        new("h2", "HTTP/2", 60_000, 1_600, false, 8, ["-m", "8"], "/small"),
        new(
            "grpc",
            "gRPC unary",
            60_000,
            1_600,
            true,
            8,
            ["-m", "8", "-H", "content-type: application/grpc", "-H", "te: trailers"],
            "/kedge.bench.Echo/Unary"),
        new("64k", "64 KiB responses, HTTP/1.1", 10_000, 320, false, 16, ["--h1"], "/64k"),
        new(
            "connect",
            "a new connection for each request",
            10_000,
            48,
            false,
            16,
            ["--h1", "-H", "connection: close"],
            "/small"),
        new(
            "early",
            "gRPC, answered early",
            10_000,
            100,
            true,
            8,
            ["-m", "8", "-H", "content-type: application/grpc", "-H", "te: trailers"],
            "/kedge.bench.Echo/Early",
            "early.grpc"),
    ];
}
