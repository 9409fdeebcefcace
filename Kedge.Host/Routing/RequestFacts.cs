using System.Net;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Certificates;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Routing;

/// <summary>The facts about a request that header values may refer to (docs/matching.md#changes).</summary>
/// <param name="context">The caller's request.</param>
/// <param name="record">The record of the request.</param>
/// <param name="host">The host that the caller asked for, without a port.</param>
/// <param name="clientAddress">The caller's address.</param>
internal sealed class RequestFacts(HttpContext context, RequestRecord record, string host, IPAddress? clientAddress)
{
    /// <summary>The value of a variable; null or empty when it is absent.</summary>
    public string? Of(HeaderVariable variable) =>
        variable.IsClientAddress ? clientAddress?.ToString()
        : variable.IsClientSan ? FirstName()
        : variable.IsTokenSubject ? RequestToken.Of(context)?.Subject
        : variable.IsRequestId ? record.RequestId
        : variable.IsRouteName ? record.Rule?.Info.Name
        : host;

    private string? FirstName() =>
        context.Connection.ClientCertificate is { } certificate ? CertificateNames.FirstOf(certificate) : null;
}
