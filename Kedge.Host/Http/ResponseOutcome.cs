using System.Net;
using Kedge.Domain;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Http;

/// <summary>
/// Whether outlier detection counts a response as a failure of its endpoint: 5xx for HTTP, a status for which
/// <see cref="GrpcStatuses.CountsAsFailure"/> holds for gRPC.
/// </summary>
internal static class ResponseOutcome
{
    /// <returns>Null when the trailers decide.</returns>
    public static bool? FromHeaders(UpstreamResponse response, Protocol protocol) =>
        protocol.IsHttp ? (int)response.StatusCode >= 500
        : response.StatusCode != HttpStatusCode.OK ? true
        : FromTrailers(response.Fields);

    /// <returns>Null when they contain no status.</returns>
    public static bool? FromTrailers(FieldList fields) =>
        fields.TryGet(GrpcHeaders.Status, out var status)
            ? GrpcStatuses.CountsAsFailure(status)
            : null;
}
