using System.Net.Security;
using Kedge.Domain;
using Kedge.Host.Http;

namespace Kedge.Host.Certificates;

/// <summary>The TLS identities for new connections. They can be replaced while the server runs.</summary>
/// <param name="identity">The default identity, for names that no other certificate covers.</param>
/// <param name="strictNames">Whether the default identity is only for the names in its certificate.</param>
public sealed class CertificateStore(ServerIdentity identity, bool strictNames = false)
{
    /// <summary>The name of the default certificate in metrics.</summary>
    public const string DefaultName = "default";

    private static readonly List<SslApplicationProtocol> GrpcProtocols = [SslApplicationProtocol.Http2];
    private static readonly List<SslApplicationProtocol> HttpProtocols =
        [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];

    // Held while the state is replaced; connections read it without the lock.
    private readonly Lock _replacing = new();
    private readonly HandshakeCounts _defaultHandshakes = new();
    private volatile State _state = new(identity, NamedCertificates.None);
    private volatile IReadOnlyList<string> _errors = [];
    private long _rejected;

    /// <summary>The default identity, for names that no other certificate covers.</summary>
    public ServerIdentity Current => _state.Default;

    /// <summary>The certificates that are chosen by name.</summary>
    public NamedCertificates Named => _state.Named;

    /// <summary>Whether any certificate is chosen by name.</summary>
    public bool HasNames => _state.Named.Serving.Count > 0;

    /// <summary>Why the last change of the files was rejected; empty when it was not.</summary>
    public IReadOnlyList<string> Errors => _errors;

    /// <summary>How many changes of certificates were rejected.</summary>
    public long Rejected => Volatile.Read(ref _rejected);

    /// <summary>All certificates in use, by their names in metrics, with their handshakes.</summary>
    public IEnumerable<(string Name, ServerIdentity Identity, HandshakeCounts Handshakes)> InUse
    {
        get
        {
            var state = _state;
            return state.Named.Serving
                .Select(static certificate => (certificate.Source, certificate.Identity, certificate.Handshakes))
                .Prepend((DefaultName, state.Default, _defaultHandshakes));
        }
    }

    /// <summary>Sets the default identity for new connections. Open connections keep theirs.</summary>
    public void Replace(ServerIdentity identity)
    {
        lock (_replacing)
        {
            var before = _state;
            _state = new(
                identity,
                before.Default.Demands.IsSameAs(identity.Demands) ? before.Named : before.Named.With(identity.Demands));
        }
        _errors = [];
    }

    /// <summary>Sets the named certificates of one origin, for new connections.</summary>
    /// <returns>What changed.</returns>
    public CertificateChanges Replace(LoadedSources sources)
    {
        lock (_replacing)
        {
            var before = _state;
            var named = before.Named.With(sources, before.Default, DateTimeOffset.UtcNow);
            _state = new(before.Default, named);
            var changes = new CertificateChanges(before.Named, named);
            Interlocked.Add(ref _rejected, changes.Rejected.Count());
            return changes;
        }
    }

    /// <summary>Records that the files again contain the identity in use, after an invalid one.</summary>
    public void MarkUnchanged() => _errors = [];

    /// <summary>Records that the files now contain an invalid identity. The one in use stays.</summary>
    public void Reject(IReadOnlyList<string> errors)
    {
        _errors = errors;
        Interlocked.Increment(ref _rejected);
    }

    /// <summary>The options for a connection that begins now.</summary>
    /// <param name="listener">The listener that accepted it.</param>
    /// <param name="serverName">The name that the client asks for (SNI); null or empty when it asks for none.</param>
    /// <param name="refused">Called when the handshake fails because of the client's certificate.</param>
    /// <param name="served">What the connection asked for and got.</param>
    /// <returns>Null when no certificate covers the name, and the default one is only for its own names.</returns>
    public SslServerAuthenticationOptions? OptionsFor(
        ListenerKind listener, string? serverName, Action<ClientRefusal> refused, out ServedName served) =>
        IdentityFor(serverName, out served)?.OptionsFor(
            listener == ListenerKind.GrpcTls ? GrpcProtocols : HttpProtocols, refused);

    /// <summary>The identity for a connection that begins now.</summary>
    /// <param name="serverName">The name that the client asks for (SNI); null or empty when it asks for none.</param>
    /// <param name="served">What the connection asked for and got.</param>
    /// <returns>Null when no certificate covers the name, and the default one is only for its own names.</returns>
    public ServerIdentity? IdentityFor(string? serverName, out ServedName served)
    {
        var state = _state;
        var name = serverName ?? "";
        var index = state.Find(name);
        var named = index > 0 ? state.Named.Serving[index - 1] : null;
        served = new(name, named?.Handshakes ?? _defaultHandshakes);
        return index < 0 && strictNames ? null : named?.Identity ?? state.Default;
    }

    /// <summary>
    /// Whether a request's host needs another certificate than the connection's server name (RFC 9110, 15.5.20): the
    /// client has reused a connection that it should not have. Any connection serves a host that no certificate covers.
    /// </summary>
    public bool IsMisdirected(ServedName? connection, ReadOnlySpan<char> host) =>
        connection is not null && _state.Table.IsMisdirected(connection.Name, host, DateTimeOffset.UtcNow);

    /// <summary>The certificates that serve none of their names.</summary>
    public IEnumerable<NamedCertificate> Unused()
    {
        var state = _state;
        var now = DateTimeOffset.UtcNow;
        return state.Named.Serving.Where((_, index) => !state.Table.IsUsed(index + 1, now));
    }

    /// <summary>Index 0 of the table is the default certificate.</summary>
    private sealed class State(ServerIdentity server, NamedCertificates named)
    {
        public ServerIdentity Default => server;

        public NamedCertificates Named => named;

        public CertificateTable Table { get; } =
            new([server.Facts, .. named.Serving.Select(certificate => certificate.Identity.Facts)]);

        public int Find(ReadOnlySpan<char> name) => Table.Find(name, DateTimeOffset.UtcNow);
    }
}
