using System.Net.Security;

namespace Kedge.Host.Certificates;

/// <summary>The TLS identity that new connections get. It can be replaced while the server runs.</summary>
public sealed class CertificateStore(ServerIdentity identity)
{
    private static readonly List<SslApplicationProtocol> GrpcProtocols = [SslApplicationProtocol.Http2];
    private static readonly List<SslApplicationProtocol> HttpProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
    private volatile ServerIdentity current = identity;

    public ServerIdentity Current => current;

    /// <summary>Why the files were refused when they changed last; empty when they were not.</summary>
    public IReadOnlyList<string> Errors { get; private set; } = [];

    /// <summary>How often changed files were refused.</summary>
    public long Refused { get; private set; }

    /// <summary>Connections that stand keep what they began with.</summary>
    public void Replace(ServerIdentity identity)
    {
        current = identity;
        Errors = [];
    }

    /// <summary>The files changed to something that is no identity: the one before stays.</summary>
    public void Refuse(IReadOnlyList<string> errors)
    {
        Errors = errors;
        Refused++;
    }

    /// <summary>The options for a connection that begins now.</summary>
    public SslServerAuthenticationOptions OptionsFor(Http.ListenerKind listener) =>
        current.OptionsFor(listener == Http.ListenerKind.GrpcTls ? GrpcProtocols : HttpProtocols);
}
