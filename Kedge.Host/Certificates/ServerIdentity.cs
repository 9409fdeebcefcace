using System.Collections.ObjectModel;
using System.Net.Security;
using System.Runtime.CompilerServices;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kedge.Domain;
using Kedge.Host.Http;
using Kedge.Wire.Tls;
using Microsoft.FSharp.Collections;

namespace Kedge.Host.Certificates;

/// <summary>
/// A certificate that the server presents, with what it demands of clients. Immutable; a reload creates a new one.
/// </summary>
public sealed class ServerIdentity
{
    private readonly SslStreamCertificateContext _context;
    private readonly PemPair _pair;
    private readonly TlsPolicy _policy;
    private readonly Lazy<TlsServerContext?> _loopHttp;
    private readonly Lazy<TlsServerContext?> _loopGrpc;

    /// <param name="pair">The certificate, and the other certificates to send with it.</param>
    /// <param name="demands">What the server demands of clients.</param>
    /// <param name="policy">The versions and cipher suites.</param>
    public ServerIdentity(PemPair pair, ClientDemands demands, TlsPolicy policy)
    {
        _pair = pair;
        _policy = policy;
        Demands = demands;
        Facts = new(
            ListModule.OfSeq(
                CertificateNames.Of(pair.Certificate)
                    .Where(static name => name.IsDnsSan)
                    .Select(static name => name.dns!)),
            new DateTimeOffset(pair.Certificate.NotBefore),
            new DateTimeOffset(pair.Certificate.NotAfter),
            pair.Certificate.GetCertHashString(HashAlgorithmName.SHA256));
        var trust = demands.Authorities.Count == 0
            ? null
            : SslCertificateTrust.CreateForX509Collection(
                demands.Authorities, sendTrustInHandshake: !OperatingSystem.IsWindows());
        // One context for all connections, because TLS sessions can only be resumed within one. Its public factory
        // builds a chain to a root of this machine and sends that. It can be shorter than the chain in the file, and a
        // client that does not know that root needs the rest.
        _context = OperatingSystem.IsLinux()
            ? ContextOf(pair.Certificate, new(CertificateChain.InOrder(pair.Certificate, pair.Intermediates)), trust)
            : SslStreamCertificateContext.Create(
                KeyForTls.Of(pair.Certificate), pair.Intermediates, offline: true, trust);
        _loopHttp = new(() => LoopContext("h2", "http/1.1"));
        _loopGrpc = new(() => LoopContext("h2"));
    }

    public X509Certificate2 Certificate => _pair.Certificate;

    /// <summary>The facts that decide which names the certificate serves.</summary>
    public CertificateFacts Facts { get; }

    public ClientDemands Demands { get; }

    /// <summary>Another certificate, with the same demands on clients.</summary>
    public ServerIdentity With(PemPair pair) => new(pair, Demands, _policy);

    /// <summary>The same certificate, with other demands on clients.</summary>
    public ServerIdentity With(ClientDemands demands) => new(_pair, demands, _policy);

    /// <summary>Whether this identity presents exactly these certificates.</summary>
    public bool Presents(PemPair pair) => Hashes(_pair).SequenceEqual(Hashes(pair));

    /// <summary>The options for one connection.</summary>
    /// <param name="protocols">The protocols to offer, the preferred one first.</param>
    /// <param name="refused">Called when the handshake fails because of the client's certificate.</param>
    public SslServerAuthenticationOptions OptionsFor(
        List<SslApplicationProtocol> protocols, Action<ClientRefusal> refused)
    {
        var options = OptionsForTrial();
        options.ApplicationProtocols = protocols;
        Demands.ApplyTo(options, refused);
        return options;
    }

    /// <summary>The options without those that concern the client.</summary>
    internal SslServerAuthenticationOptions OptionsForTrial()
    {
        var options = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = _context,
            AllowRenegotiation = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        _policy.ApplyTo(options);
        return options;
    }

    /// <summary>
    /// The context for handshakes on an event loop; null when its connections use the runtime's TLS streams, as they do
    /// if the server asks clients for a certificate, or the operator chose the cipher suites.
    /// </summary>
    /// <exception cref="AuthenticationException">The TLS library rejects the certificate.</exception>
    public TlsServerContext? LoopContextFor(ListenerKind listener) =>
        (listener == ListenerKind.GrpcTls ? _loopGrpc : _loopHttp).Value;

    private TlsServerContext? LoopContext(params string[] protocols) =>
        TlsServerContext.IsSupported && Demands.Authorities.Count == 0 && !_policy.HasCiphers
            ? TlsServerContext.Create(
                _pair.Certificate,
                CertificateChain.InOrder(_pair.Certificate, _pair.Intermediates),
                _policy.IsTls13Only,
                protocols)
            : null;

    private static IEnumerable<string> Hashes(PemPair pair) =>
        pair.Intermediates.Prepend(pair.Certificate)
            .Select(static certificate => certificate.GetCertHashString(HashAlgorithmName.SHA256));

    // The only way to determine which certificates the server sends; a test compares them with those in the file. Only
    // the Linux runtime is known to have this constructor.
    [UnsafeAccessor(UnsafeAccessorKind.Constructor)]
    private static extern SslStreamCertificateContext ContextOf(
        X509Certificate2 target, ReadOnlyCollection<X509Certificate2> intermediates, SslCertificateTrust? trust);
}
