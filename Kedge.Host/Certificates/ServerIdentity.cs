using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Certificates;

/// <summary>
/// The certificate that the server presents, and what it demands of clients. Immutable; a reload creates a new one.
/// </summary>
public sealed class ServerIdentity
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private readonly SslStreamCertificateContext _context;
    private readonly X509Certificate2Collection _clientAuthorities;
    private readonly bool _clientCertificateRequired;

    /// <param name="certificate">With its private key.</param>
    /// <param name="intermediates">Sent with the certificate, as far as they chain from it towards a root.</param>
    /// <param name="clientAuthorities">
    /// The roots that client certificates must chain to; empty = clients are not asked for a certificate.
    /// </param>
    /// <param name="clientCertificateRequired">Whether to reject clients without a certificate.</param>
    public ServerIdentity(
        X509Certificate2 certificate,
        X509Certificate2Collection intermediates,
        X509Certificate2Collection clientAuthorities,
        bool clientCertificateRequired)
    {
        _clientAuthorities = clientAuthorities;
        _clientCertificateRequired = clientCertificateRequired;
        Certificate = certificate;
        var trust = clientAuthorities.Count == 0
            ? null
            : SslCertificateTrust.CreateForX509Collection(clientAuthorities, sendTrustInHandshake: true);
        // One context for all connections, because TLS sessions can only be resumed within one. Offline: nothing is
        // downloaded.
        _context = SslStreamCertificateContext.Create(certificate, intermediates, offline: true, trust);
    }

    public X509Certificate2 Certificate { get; }

    /// <summary>
    /// The roots that client certificates must chain to; empty = clients are not asked for a certificate.
    /// </summary>
    public X509Certificate2Collection ClientAuthorities => _clientAuthorities;

    /// <summary>The options for one connection.</summary>
    /// <param name="protocols">The protocols to offer, the preferred one first.</param>
    public SslServerAuthenticationOptions OptionsFor(List<SslApplicationProtocol> protocols)
    {
        var options = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = _context,
            ApplicationProtocols = protocols,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            AllowRenegotiation = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (_clientAuthorities.Count > 0)
        {
            // "Required" makes the server ask. The callback decides whether a client may go without a certificate.
            options.ClientCertificateRequired = true;
            options.CertificateChainPolicy = ClientPolicy();
            options.RemoteCertificateValidationCallback = (_, _, _, errors) =>
                errors == SslPolicyErrors.None
                || (errors == SslPolicyErrors.RemoteCertificateNotAvailable && !_clientCertificateRequired);
        }
        return options;
    }

    /// <summary>Each connection needs its own policy: the certificates that the client sends are added to it.</summary>
    private X509ChainPolicy ClientPolicy()
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.CustomTrustStore.AddRange(_clientAuthorities);
        policy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        return policy;
    }
}
