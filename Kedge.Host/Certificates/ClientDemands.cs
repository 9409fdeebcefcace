using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Certificates;

/// <summary>What the server demands of clients, whatever certificate it presents.</summary>
public sealed class ClientDemands
{
    /// <summary>Clients are not asked for a certificate.</summary>
    public static readonly ClientDemands None = new([], isRequired: false);

    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    /// <param name="authorities">
    /// The roots that client certificates must chain to; empty = clients are not asked for a certificate.
    /// </param>
    /// <param name="isRequired">Whether to reject clients without a certificate.</param>
    public ClientDemands(X509Certificate2Collection authorities, bool isRequired) =>
        (Authorities, IsRequired) = (authorities, isRequired);

    /// <summary>
    /// The roots that client certificates must chain to; empty = clients are not asked for a certificate.
    /// </summary>
    public X509Certificate2Collection Authorities { get; }

    /// <summary>Whether to reject clients without a certificate.</summary>
    public bool IsRequired { get; }

    public bool IsSameAs(ClientDemands other) =>
        IsRequired == other.IsRequired
        && Authorities.Select(static authority => authority.Thumbprint)
            .SequenceEqual(other.Authorities.Select(static authority => authority.Thumbprint));

    /// <summary>Applies the demands to one handshake.</summary>
    /// <param name="options">The options of the handshake.</param>
    /// <param name="refused">Called when the handshake fails because of the client's certificate.</param>
    public void ApplyTo(SslServerAuthenticationOptions options, Action<ClientRefusal> refused)
    {
        if (Authorities.Count == 0)
        {
            return;
        }
        // "Required" makes the server ask. The callback decides whether a client may go without a certificate.
        options.ClientCertificateRequired = true;
        // A resumed session contains the client's certificate without its intermediates, so the server would reject
        // the same client. Nor would it verify the client against CAs that have changed since.
        options.AllowTlsResume = false;
        options.CertificateChainPolicy = Policy();
        options.RemoteCertificateValidationCallback = (_, _, chain, errors) =>
        {
            var isAbsent = errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable);
            if (errors == SslPolicyErrors.None || (isAbsent && !IsRequired))
            {
                return true;
            }
            refused(isAbsent ? ClientRefusal.NoCertificate : ClientRefusal.Of(chain));
            return false;
        };
    }

    /// <summary>Each connection needs its own policy: the certificates that the client sends are added to it.</summary>
    private X509ChainPolicy Policy()
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.CustomTrustStore.AddRange(Authorities);
        policy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        return policy;
    }
}

/// <summary>Why a client's certificate, or the absence of one, made the handshake fail.</summary>
/// <param name="IsAbsent">Whether the client sent none.</param>
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
