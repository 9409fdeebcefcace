using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Certificates;

/// <summary>With what the server proves itself, and what it asks of clients. Immutable; a reload makes a new one.</summary>
public sealed class ServerIdentity
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private readonly SslStreamCertificateContext context;
    private readonly X509Certificate2Collection clientAuthorities;
    private readonly bool clientCertificateRequired;

    /// <param name="certificate">With its private key.</param>
    /// <param name="intermediates">Sent along with the certificate, as far as they lead from it towards a root.</param>
    /// <param name="clientAuthorities">What client certificates must chain to; empty = none is asked for.</param>
    /// <param name="clientCertificateRequired">Whether a client without a certificate is refused.</param>
    public ServerIdentity(
        X509Certificate2 certificate,
        X509Certificate2Collection intermediates,
        X509Certificate2Collection clientAuthorities,
        bool clientCertificateRequired)
    {
        this.clientAuthorities = clientAuthorities;
        this.clientCertificateRequired = clientCertificateRequired;
        Certificate = certificate;
        var trust = clientAuthorities.Count == 0
            ? null
            : SslCertificateTrust.CreateForX509Collection(clientAuthorities, sendTrustInHandshake: true);
        // One context for all connections: TLS sessions can be resumed only within it. Offline: nothing is downloaded.
        context = SslStreamCertificateContext.Create(certificate, intermediates, offline: true, trust);
    }

    public X509Certificate2 Certificate { get; }

    /// <summary>What client certificates must chain to; empty = none is asked for.</summary>
    public X509Certificate2Collection ClientAuthorities => clientAuthorities;

    /// <summary>The options for one connection.</summary>
    /// <param name="protocols">What is offered, the best first.</param>
    public SslServerAuthenticationOptions OptionsFor(List<SslApplicationProtocol> protocols)
    {
        var options = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = context,
            ApplicationProtocols = protocols,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            AllowRenegotiation = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (clientAuthorities.Count > 0)
        {
            // "Required" makes the server ask; whether an absent certificate is enough is decided in the callback.
            options.ClientCertificateRequired = true;
            // A resumed session has the client's certificate without its intermediates, so that the same client would be
            // refused; nor would it be verified against CAs that have changed since.
            options.AllowTlsResume = false;
            options.CertificateChainPolicy = ClientPolicy();
            options.RemoteCertificateValidationCallback = (_, _, _, errors) =>
                errors == SslPolicyErrors.None
                || (errors == SslPolicyErrors.RemoteCertificateNotAvailable && !clientCertificateRequired);
        }
        return options;
    }

    /// <summary>A policy of its own for each connection: what the client sends is added to it.</summary>
    private X509ChainPolicy ClientPolicy()
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.CustomTrustStore.AddRange(clientAuthorities);
        policy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        return policy;
    }
}
