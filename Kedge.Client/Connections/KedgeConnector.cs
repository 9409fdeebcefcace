using System.Diagnostics;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Client.Connections;

/// <summary>
/// Opens connections to kedges: TCP, and TLS with the kedge's own name, whatever the request's Host is.
/// </summary>
/// <param name="tls">The TLS settings; null = plain text.</param>
/// <param name="proxy">The proxy that connections go through; null = none.</param>
/// <param name="onConnection">Receives each attempt when it has ended; null = no receiver.</param>
internal sealed class KedgeConnector(KedgeTls? tls, UpstreamProxy? proxy, Action<KedgeConnection>? onConnection)
{
    private readonly TlsMaterial? _material = tls is null ? null : new(tls);

    /// <summary>Opens a connection that speaks one of the offered protocols.</summary>
    public async Task<(Stream Stream, SslApplicationProtocol Protocol)> ConnectAsync(
        string host, int port, IReadOnlyList<SslApplicationProtocol> protocols, CancellationToken cancel)
    {
        var began = Stopwatch.GetTimestamp();
        void Ended(X509Certificate? certificate, string? problem)
        {
            DateTimeOffset? end = certificate is X509Certificate2 full ? full.NotAfter : null;
            onConnection?.Invoke(
                new($"{host}:{port}", DateTimeOffset.UtcNow, Stopwatch.GetElapsedTime(began), end, problem));
        }
        try
        {
            var (stream, protocol) = await OpenAsync(host, port, protocols, cancel);
            Ended((stream as SslStream)?.RemoteCertificate, null);
            return (stream, protocol);
        }
        catch (KedgeException e)
        {
            Ended(null, e.Message);
            throw;
        }
        catch (OperationCanceledException)
        {
            Ended(null, $"no connection within {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s");
            throw;
        }
    }

    public static KedgeException Unreachable(string host, int port, string reason, Exception? inner) =>
        new(KedgeFailure.KedgeUnreachable, $"the kedge {host}:{port} cannot be reached: {reason}", inner);

    private async Task<(Stream Stream, SslApplicationProtocol Protocol)> OpenAsync(
        string host, int port, IReadOnlyList<SslApplicationProtocol> protocols, CancellationToken cancel)
    {
        Stream stream;
        try
        {
            stream = proxy is not null && proxy.Serves(host, port)
                ? await proxy.ConnectAsync(host, port, allows: null, cancel)
                : await Dialer.ConnectAsync(host, port, allows: null, cancel);
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            throw Unreachable(host, port, e.Message, e);
        }
        if (_material is null)
        {
            return (stream, default);
        }
        string? rejection = null;
        var secure = new SslStream(stream, leaveInnerStreamOpen: false, (_, certificate, chain, errors) =>
        {
            rejection = tls!.Insecure ? null : RejectionOf(certificate, chain, errors);
            return rejection is null;
        });
        try
        {
            await secure.AuthenticateAsClientAsync(_material.Options(host, protocols), cancel);
            return (secure, secure.NegotiatedApplicationProtocol);
        }
        catch (Exception e)
        {
            await secure.DisposeAsync();
            throw e switch
            {
                AuthenticationException => new KedgeException(
                    KedgeFailure.KedgeCertificate,
                    $"TLS with the kedge {host}:{port} failed: {rejection ?? e.InnerException?.Message ?? e.Message}",
                    e),
                IOException => Unreachable(
                    host,
                    port,
                    $"the connection broke off during the TLS handshake ({e.Message})",
                    e),
                _ => e,
            };
        }
    }

    private static string? RejectionOf(X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None)
        {
            return null;
        }
        if (certificate is null)
        {
            return "it sent no certificate";
        }
        var reasons = new List<string>();
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch))
        {
            reasons.Add($"its certificate is for another name ({certificate.Subject})");
        }
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors) && chain is not null)
        {
            reasons.AddRange(chain.ChainStatus.Select(status => status.StatusInformation.Trim().TrimEnd('.')));
        }
        return string.Join("; ", reasons);
    }
}
