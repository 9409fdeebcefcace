using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Kedge.Host.Certificates;
using Kedge.Host.Http;
using Kedge.Wire.Tls;
using Kedge.Wire.Transport;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Kedge.Host.Listeners;

/// <summary>
/// TLS for connections on an event loop, directly by the TLS library where the runtime's streams are not needed. Those
/// account for a tenth of the cost of a request, and for much of the cost of a handshake.
/// </summary>
/// <param name="kind">The listener.</param>
/// <param name="certificates">The certificates to choose from.</param>
/// <param name="timeout">How long a handshake may take.</param>
internal sealed class LoopTls(ListenerKind kind, CertificateStore certificates, TimeSpan timeout)
{
    private ConnectionDelegate? _afterTls;

    /// <summary>Must be added before the runtime's TLS, which handles the other connections.</summary>
    public void Begin(ListenOptions listener) =>
        listener.Use(streams => connection =>
            connection.Features.Get<IEventLoopFeature>() is null
                // One decides for all: identities share the demands on clients and the cipher suites.
                || certificates.Current.LoopContextFor(kind) is null
                ? streams(connection)
                : RunAsync(connection, streams));

    /// <summary>Must be added after the runtime's TLS.</summary>
    public void End(ListenOptions listener) => listener.Use(next => _afterTls = next);

    private async Task RunAsync(ConnectionContext connection, ConnectionDelegate streams)
    {
        var transport = connection.Transport;
        if (await HandshakeAsync(connection) is not { } handshake)
        {
            return;
        }
        if (handshake.Tls is not { } tls)
        {
            await streams(connection);
            return;
        }
        var negotiated = new Negotiated(tls, handshake.Name);
        connection.Features.Set<ITlsConnectionFeature>(negotiated);
        connection.Features.Set<ITlsApplicationProtocolFeature>(negotiated);
        connection.Features.Set<ITlsHandshakeFeature>(negotiated);
        connection.Features.Set(tls);
        connection.Transport = tls;
        try
        {
            await _afterTls!(connection);
        }
        finally
        {
            tls.Dispose();
            connection.Transport = transport;
        }
    }

    /// <summary>Performs the handshake.</summary>
    /// <returns>
    /// Null when the connection is over; without TLS when the chosen identity needs the runtime's streams.
    /// </returns>
    private async ValueTask<(TlsServer? Tls, string Name)?> HandshakeAsync(ConnectionContext connection)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(connection.ConnectionClosed);
        limit.CancelAfter(timeout);
        try
        {
            var name = await TlsServer.ReadNameAsync(connection.Transport.Input, limit.Token);
            if (certificates.IdentityFor(name, out var served) is not { } identity)
            {
                await Handshakes.RejectNameAsync(connection, served.Name, limit.Token);
                return null;
            }
            if (identity.LoopContextFor(kind) is not { } context)
            {
                return (null, name);
            }
            connection.Features.Set(served);
            return (
                await TlsServer.AcceptAsync(
                    context,
                    connection.Transport,
                    connection.Features.Get<ICallerConnection>(),
                    connection.Features.Get<IEventLoopFeature>(),
                    limit.Token),
                name);
        }
        catch (OperationCanceledException) when (!connection.ConnectionClosed.IsCancellationRequested)
        {
            // The handshake took too long.
            return null;
        }
        catch (OperationCanceledException e)
        {
            throw new IOException("the client closed the connection during the handshake", e);
        }
    }

    /// <summary>The result of the negotiation, in the features that the server reads.</summary>
    private sealed class Negotiated(TlsServer tls, string name)
        : ITlsConnectionFeature, ITlsApplicationProtocolFeature, ITlsHandshakeFeature
    {
        private static readonly ReadOnlyMemory<byte> Http2 = "h2"u8.ToArray();
        private static readonly ReadOnlyMemory<byte> Http11 = "http/1.1"u8.ToArray();

        // These identities do not ask clients for one.
        public X509Certificate2? ClientCertificate { get; set; }

        public ReadOnlyMemory<byte> ApplicationProtocol => tls.ApplicationProtocol switch
        {
            "h2" => Http2,
            "http/1.1" => Http11,
            var other => Encoding.ASCII.GetBytes(other),
        };

        public SslProtocols Protocol => tls.Protocol;

        public TlsCipherSuite? NegotiatedCipherSuite => tls.CipherSuite;

        public string HostName => name;

#pragma warning disable SYSLIB0058 // The interface still has them.
        public CipherAlgorithmType CipherAlgorithm => CipherAlgorithmType.None;

        public int CipherStrength => 0;

        public HashAlgorithmType HashAlgorithm => HashAlgorithmType.None;

        public int HashStrength => 0;

        public ExchangeAlgorithmType KeyExchangeAlgorithm => ExchangeAlgorithmType.None;

        public int KeyExchangeStrength => 0;
#pragma warning restore SYSLIB0058

        public Task<X509Certificate2?> GetClientCertificateAsync(CancellationToken cancellationToken) =>
            Task.FromResult<X509Certificate2?>(null);
    }
}
