using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Kedge.Domain;
using Kedge.Host.Http;

namespace Kedge.Host.Backends.Connections;

/// <summary>
/// Opens the connections of one handler. It also does the TLS handshake, because the handler would take the name for
/// SNI and verification from the request's Host header, which is the caller's.
/// </summary>
/// <param name="tls">Null for plain text.</param>
/// <param name="http2Only">Whether ALPN offers HTTP/2 only.</param>
internal sealed class Connector(UpstreamTls? tls, bool http2Only)
{
    /// <summary>The time limit for a connection, including the TLS handshake.</summary>
    public static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);

    /// <summary>The endpoint of a request.</summary>
    public static readonly HttpRequestOptionsKey<Endpoint> EndpointOption = new("kedge-endpoint");

    private readonly TlsMaterial? _material = tls is null ? null : new TlsMaterial(tls);

    public async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var address = new IPEndPoint(IPAddress.Parse(context.DnsEndPoint.Host), context.DnsEndPoint.Port);
        // HTTP/2 pings alone do not replace TCP keep-alive: common gRPC servers treat frequent pings as abuse.
        var socket = await TcpConnection.ConnectAsync(address, TcpConnection.DefaultKeepAlive, cancel);
        var stream = new NetworkStream(socket, ownsSocket: true);
        return tls is null ? stream : await SecureAsync(stream, context, cancel);
    }

    private async Task<Stream> SecureAsync(
        NetworkStream stream, SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        string? rejection = null;
        var secure = new SslStream(stream, leaveInnerStreamOpen: false, (_, certificate, chain, errors) =>
        {
            rejection = tls!.InsecureSkipVerify ? null : RejectionOf(certificate, chain, errors);
            return rejection is null;
        });
        try
        {
            var request = context.InitialRequestMessage;
            var name = tls!.ServerName;
            if (name.Length == 0 && request.Options.TryGetValue(EndpointOption, out var endpoint))
            {
                name = endpoint.Resolved.DnsName;
            }
            var options = _material!.Options(
                name.Length == 0 ? context.DnsEndPoint.Host : name.TrimEnd('.'),
                offerHttp2: request.Version.Major >= 2,
                offerHttp11: !http2Only);
            await secure.AuthenticateAsClientAsync(options, cancel);
            return secure;
        }
        catch (Exception e)
        {
            await secure.DisposeAsync();
            throw e switch
            {
                AuthenticationException => new AuthenticationException(rejection ?? e.Message, e),
                _ => e,
            };
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
