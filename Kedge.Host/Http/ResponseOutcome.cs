using System.Net;
using System.Net.Http.Headers;

namespace Kedge.Host.Http;

/// <summary>Which answers outlier detection counts as failures: 5xx, and gRPC's UNKNOWN, INTERNAL and UNAVAILABLE.</summary>
internal static class ResponseOutcome
{
    private const string GrpcStatusHeader = "grpc-status";

    /// <summary>Whether it is a failure; null when only the trailers will tell.</summary>
    public static bool? FromHeaders(HttpResponseMessage response, bool isGrpc) =>
        !isGrpc ? (int)response.StatusCode >= 500
        : response.StatusCode != HttpStatusCode.OK ? true
        : FromTrailers(response.Headers);

    /// <summary>Null when they have no status.</summary>
    public static bool? FromTrailers(HttpResponseHeaders headers) =>
        headers.NonValidated.TryGetValues(GrpcStatusHeader, out var status) ? status.ToString() is "2" or "13" or "14" : null;
}
