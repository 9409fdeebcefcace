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
/// TLS of connections on an event loop: by the TLS library itself, where the runtime's streams are not needed. These
/// cost a tenth of a request, and much of a handshake.
/// </summary>
/// <param name="kind">The listener.</param>
/// <param name="certificates">The certificates to choose from.</param>
/// <param name="timeout">How long a handshake may take.</param>
internal sealed class LoopTls(ListenerKind kind, CertificateStore certificates, TimeSpan timeout)
{
    private ConnectionDelegate? _afterTls;

    /// <summary>To be added before the runtime's TLS, which gets the other connections.</summary>
    public void Begin(ListenOptions listener) =>
        listener.Use(streams => connection =>
            connection.Features.Get<IEventLoopFeature>() is null
                // What all identities have in common: their demands on clients, and the cipher suites.
                || certificates.Current.LoopContextFor(kind) is null
                ? streams(connection)
                : RunAsync(connection, streams));

    /// <summary>To be added after the runtime's TLS.</summary>
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

    /// <summary>Makes the handshake.</summary>
    /// <returns>
    /// Null when the connection is over; without TLS when the identity that it asks for needs the runtime's streams.
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
            // Not in time.
            return null;
        }
        catch (OperationCanceledException e)
        {
            throw new IOException("the client closed the connection during the handshake", e);
        }
    }

    /// <summary>What was negotiated, as the server wants to see it.</summary>
    private sealed class Negotiated(TlsServer tls, string name)
        : ITlsConnectionFeature, ITlsApplicationProtocolFeature, ITlsHandshakeFeature
    {
        private static readonly ReadOnlyMemory<byte> Http2 = "h2"u8.ToArray();
        private static readonly ReadOnlyMemory<byte> Http11 = "http/1.1"u8.ToArray();

        // These identities do not ask for one.
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
