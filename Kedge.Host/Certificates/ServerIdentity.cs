using System.Collections.ObjectModel;
using System.Net.Security;
using System.Runtime.CompilerServices;
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
    /// <param name="intermediates">The other certificates of its file. All are sent.</param>
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
        // One context for all connections, because TLS sessions can only be resumed within one. Its public factory
        // sends the chain that it builds to a root of this machine, which can be shorter than the one in the file: a
        // client that does not know that root needs the rest.
        _context = ContextOf(certificate, new(CertificateChain.InOrder(certificate, intermediates)), trust);
    }

    public X509Certificate2 Certificate { get; }

    /// <summary>
    /// The roots that client certificates must chain to; empty = clients are not asked for a certificate.
    /// </summary>
    public X509Certificate2Collection ClientAuthorities => _clientAuthorities;

    /// <summary>The options for one connection.</summary>
    /// <param name="protocols">The protocols to offer, the preferred one first.</param>
    /// <param name="refused">Called when the handshake fails because of the client's certificate.</param>
    public SslServerAuthenticationOptions OptionsFor(
        List<SslApplicationProtocol> protocols, Action<ClientRefusal> refused)
    {
        var options = OptionsForTrial();
        options.ApplicationProtocols = protocols;
        if (_clientAuthorities.Count > 0)
        {
            // "Required" makes the server ask. The callback decides whether a client may go without a certificate.
            options.ClientCertificateRequired = true;
            // A resumed session has the client's certificate without its intermediates, so the same client would be
            // rejected. It would not be verified against CAs that have changed since, either.
            options.AllowTlsResume = false;
            options.CertificateChainPolicy = ClientPolicy();
            options.RemoteCertificateValidationCallback = (_, _, chain, errors) =>
            {
                var isAbsent = errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable);
                if (errors == SslPolicyErrors.None || (isAbsent && !_clientCertificateRequired))
                {
                    return true;
                }
                refused(isAbsent ? ClientRefusal.NoCertificate : ClientRefusal.Of(chain));
                return false;
            };
        }
        return options;
    }

    /// <summary>The options without those that concern the client.</summary>
    internal SslServerAuthenticationOptions OptionsForTrial() => new()
    {
        ServerCertificateContext = _context,
        EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
        AllowRenegotiation = false,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
    };

    // The only way to determine which certificates are sent; a test compares them with those of the file.
    [UnsafeAccessor(UnsafeAccessorKind.Constructor)]
    private static extern SslStreamCertificateContext ContextOf(
        X509Certificate2 target, ReadOnlyCollection<X509Certificate2> intermediates, SslCertificateTrust? trust);

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

/// <summary>Why a client's certificate, or the absence of one, made the handshake fail.</summary>
/// <param name="IsAbsent">Whether it sent none.</param>
/// <param name="Reason">For the log.</param>
public sealed record ClientRefusal(bool IsAbsent, string Reason)
{
    public static readonly ClientRefusal NoCertificate = new(true, "the client sent no certificate");

    public static ClientRefusal Of(X509Chain? chain)
    {
        var statuses = chain?.ChainStatus.Select(status => status.Status.ToString()).Distinct() ?? [];
        return new(false, $"the client's certificate is not valid: {string.Join(", ", statuses)}");
    }
}
