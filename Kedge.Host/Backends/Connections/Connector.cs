using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Host.Backends.Connections;

/// <summary>
/// Makes the connections of one handler. TLS is done here and not by the handler, because the handler would take the name
/// to ask for and to verify from the request's Host header, which is the caller's.
/// </summary>
internal sealed class Connector(TlsIdentity? tls, bool http2Only)
{
    /// <summary>Tells the connector which endpoint a request is for.</summary>
    public static readonly HttpRequestOptionsKey<Endpoint> EndpointOption = new("kedge-endpoint");

    private readonly TlsMaterial? _material = tls is null ? null : new TlsMaterial(tls);

    public async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var address = new IPEndPoint(IPAddress.Parse(context.DnsEndPoint.Host), context.DnsEndPoint.Port);
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            // A peer that vanished is noticed even while nothing is sent. HTTP/2 pings alone would not do: common gRPC
            // servers take frequent ones for abuse.
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
            await socket.ConnectAsync(address, cancel);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
        var stream = new NetworkStream(socket, ownsSocket: true);
        return tls is null ? stream : await SecureAsync(stream, context, cancel);
    }

    private async Task<Stream> SecureAsync(NetworkStream stream, SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        string? verdict = null;
        var secure = new SslStream(stream, leaveInnerStreamOpen: false, (_, certificate, chain, errors) =>
        {
            verdict = tls!.InsecureSkipVerify ? null : Describe(certificate, chain, errors);
            return verdict is null;
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
                AuthenticationException => new AuthenticationException(verdict ?? e.Message, e),
                _ => e,
            };
        }
    }

    /// <summary>Why the certificate is refused; null when it is good.</summary>
    private static string? Describe(X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
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
            reasons.Add("it is for another name");
        }
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors) && chain is not null)
        {
            foreach (var status in chain.ChainStatus)
            {
                reasons.Add(status.StatusInformation.Length > 0 ? status.StatusInformation : status.Status.ToString());
            }
        }
        return $"the backend's certificate is refused: {string.Join("; ", reasons)}";
    }
}
