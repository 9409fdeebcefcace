using Kedge.Domain;

namespace Kedge.Host.Backends.Connections;

/// <summary>What makes two backends' TLS the same: they can share connections.</summary>
/// <param name="CaFiles">Paths of PEM bundles, joined by newlines; empty = the system roots.</param>
/// <param name="ServerName">Empty = the name under which the endpoint was found.</param>
internal sealed record TlsIdentity(bool InsecureSkipVerify, string CaFiles, string ServerName, string ClientCertFile, string ClientKeyFile)
{
    public static TlsIdentity? Of(UpstreamTls? tls) =>
        tls is null
            ? null
            : new(tls.InsecureSkipVerify, string.Join('\n', tls.CaFiles), tls.ServerName, tls.ClientCertFile, tls.ClientKeyFile);
}
