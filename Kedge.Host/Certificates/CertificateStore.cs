using System.Net.Security;
using Kedge.Host.Http;

namespace Kedge.Host.Certificates;

/// <summary>The TLS identity for new connections. It can be replaced while the server runs.</summary>
public sealed class CertificateStore(ServerIdentity identity)
{
    private static readonly List<SslApplicationProtocol> GrpcProtocols = [SslApplicationProtocol.Http2];
    private static readonly List<SslApplicationProtocol> HttpProtocols =
        [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
    private volatile ServerIdentity _current = identity;
    private volatile IReadOnlyList<string> _errors = [];
    private long _rejected;

    public ServerIdentity Current => _current;

    /// <summary>Why the last change of the files was rejected; empty when it was not.</summary>
    public IReadOnlyList<string> Errors => _errors;

    /// <summary>How many changes of the files were rejected.</summary>
    public long Rejected => Volatile.Read(ref _rejected);

    /// <summary>Sets the identity for new connections. Open connections keep theirs.</summary>
    public void Replace(ServerIdentity identity)
    {
        _current = identity;
        _errors = [];
    }

    /// <summary>The files hold the identity in use again, after an invalid one.</summary>
    public void MarkUnchanged() => _errors = [];

    /// <summary>The files changed to something invalid: the identity in use stays.</summary>
    public void Reject(IReadOnlyList<string> errors)
    {
        _errors = errors;
        Interlocked.Increment(ref _rejected);
    }

    /// <summary>The options for a connection that begins now.</summary>
    public SslServerAuthenticationOptions OptionsFor(ListenerKind listener) =>
        _current.OptionsFor(listener == ListenerKind.GrpcTls ? GrpcProtocols : HttpProtocols);
}
