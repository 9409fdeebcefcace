using System.Net;

namespace Kedge.Client;

/// <summary>What failed on the way to a service.</summary>
public enum KedgeFailure
{
    /// <summary>A rule matches the host, but the URL that the rule builds from the host is not a kedge's.</summary>
    BadMapping,

    /// <summary>No rule matches the host, and such hosts are not called.</summary>
    NotAKedgeDestination,

    /// <summary>An auth source has no credentials to give.</summary>
    AuthSourceFailed,

    /// <summary>An auth source needs a user to log in.</summary>
    LoginRequired,

    /// <summary>No connection to the kedge.</summary>
    KedgeUnreachable,

    /// <summary>TLS with the kedge failed: its certificate, or ours.</summary>
    KedgeCertificate,

    /// <summary>The response did not begin within the route's limit.</summary>
    Timeout,

    /// <summary>
    /// The kedge itself responded, not the service behind it; <see cref="KedgeException.Error"/> says what.
    /// </summary>
    KedgeAnswered,
}

/// <summary>
/// A request that did not reach its service. The message names the kedge and the reason, and contains no secrets.
/// </summary>
public sealed class KedgeException : HttpRequestException
{
    /// <inheritdoc/>
    public KedgeException(
        KedgeFailure failure,
        string message,
        Exception? inner = null,
        HttpStatusCode? statusCode = null)
        : base(message, inner, statusCode) => Failure = failure;

    public KedgeFailure Failure { get; }

    /// <summary>The kedge's own response; null unless it sent one.</summary>
    public KedgeError? Error { get; init; }

    /// <summary>The auth source that failed or needs a login; null for other failures.</summary>
    public string? AuthSource { get; init; }
}

/// <summary>A response of a kedge itself, from its response headers.</summary>
/// <param name="Type">
/// The error for programs, such as <c>no-route</c>, <c>unauthorized</c> or
/// <c>no-connection-to-all-resolved-addresses</c>.
/// </param>
/// <param name="Reason">The error for people.</param>
/// <param name="BackendName">The backend that the request was for; null when it was for none.</param>
/// <param name="RequestId">The ID under which the kedge logged the request.</param>
public sealed record KedgeError(string Type, string Reason, string? BackendName, string? RequestId)
{
    /// <summary>Reads the headers of a response; null when the response comes from the service.</summary>
    public static KedgeError? Of(HttpResponseMessage response)
    {
        ArgumentNullException.ThrowIfNull(response);
        var type = Header(response, "X-Kedge-Error-Type");
        var reason = Header(response, "X-Kedge-Error");
        return type is null && reason is null
            ? null
            : new(
                type ?? "",
                reason ?? "",
                Header(response, "X-Kedge-Backend-Name"),
                Header(response, "X-Kedge-Request-ID"));
    }

    private static string? Header(HttpResponseMessage response, string name) =>
        response.Headers.NonValidated.TryGetValues(name, out var values) ? values.ToString() : null;
}
