using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Kedge.Domain;
using Kedge.Wire.Loops;
using Kedge.Wire.Sockets;

namespace Kedge.Host.Backends.Connections;

/// <summary>Opens the connections of backends with the same TLS settings.</summary>
/// <param name="tls">Null for plain text.</param>
/// <param name="loops">The event loops that serve the connections; null = the platform's sockets do.</param>
internal sealed class Connector(UpstreamTls? tls, EventLoops? loops)
{
    private readonly TlsMaterial? _material = tls is null ? null : new TlsMaterial(tls);

    /// <summary>The name for SNI and verification: from the settings, otherwise of the endpoint.</summary>
    /// <param name="endpointName">The DNS name of the endpoint; empty = use its address.</param>
    public string NameFor(IPEndPoint address, string endpointName)
    {
        var name = tls is null ? "" : tls.ServerName.Length > 0 ? tls.ServerName : endpointName;
        return tls is null || name.Length > 0 ? name.TrimEnd('.') : address.Address.ToString();
    }

    /// <summary>Opens a connection, with its TLS handshake.</summary>
    /// <param name="name">See <see cref="NameFor"/>.</param>
    /// <param name="offerHttp2">Whether ALPN offers HTTP/2.</param>
    /// <param name="offerHttp11">Whether ALPN offers HTTP/1.1.</param>
    /// <param name="near">The preferred event loop for the connection; null = any.</param>
    /// <exception cref="IOException">The connection attempt failed.</exception>
    /// <exception cref="AuthenticationException">The TLS handshake failed; the message says why.</exception>
    public async ValueTask<ByteChannel> OpenAsync(
        IPEndPoint address,
        string name,
        bool offerHttp2,
        bool offerHttp11,
        EventLoop? near,
        CancellationToken cancel)
    {
        var channel = loops is null
            ? await SocketChannel.ConnectAsync(address, cancel)
            : await LoopChannel.ConnectAsync(loops.Near(near), address, cancel);
        if (tls is null)
        {
            return channel;
        }
        string? rejection = null;
        try
        {
            var options = _material!.Options(name, offerHttp2, offerHttp11);
            options.RemoteCertificateValidationCallback = (_, certificate, chain, errors) =>
            {
                rejection = tls.InsecureSkipVerify ? null : RejectionOf(certificate, chain, errors);
                return rejection is null;
            };
            return await TlsChannel.ConnectAsync(channel, options, cancel);
        }
        catch (AuthenticationException e)
        {
            channel.Abort();
            throw new AuthenticationException(rejection ?? e.Message, e);
        }
    }

    /// <summary>Why the certificate is rejected; null when it is valid.</summary>
    private static string? RejectionOf(X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None)
        {
            return null;
        }
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable) || certificate is null)
        {
            return "the backend sent no certificate";
        }
        var reasons = new List<string>();
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch))
        {
            reasons.Add("it is for a different name");
        }
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors) && chain is not null)
        {
            foreach (var status in chain.ChainStatus)
            {
                reasons.Add(status.StatusInformation.Length > 0 ? status.StatusInformation : status.Status.ToString());
            }
        }
        return $"the backend's certificate is rejected: {string.Join("; ", reasons)}";
    }
}
