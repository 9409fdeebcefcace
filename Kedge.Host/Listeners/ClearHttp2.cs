using System.Buffers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Kedge.Host.Listeners;

/// <summary>
/// HTTP/2 on a listener without TLS, for clients that know in advance that the server speaks it (RFC 9113, 3.3).
/// Nothing negotiates the protocol there, so the first bytes of the connection decide. On its own, the server would
/// speak HTTP/1.1 on every such connection, so kedge sets the features that a TLS handshake with HTTP/2 would set.
/// </summary>
internal static class ClearHttp2
{
    /// <summary>Must be added to a listener without TLS, before everything that depends on the protocol.</summary>
    /// <param name="listener">A listener for both protocols.</param>
    /// <param name="limit">How long the first bytes may take.</param>
    public static void UseClearHttp2(this ListenOptions listener, TimeSpan limit) =>
        listener.Use(next => async connection =>
        {
            if (await TryReadStartAsync(connection, limit) is not { } isHttp2)
            {
                return;
            }
            if (isHttp2)
            {
                connection.Features.Set<ITlsConnectionFeature>(Negotiated.Http2);
                connection.Features.Set<ITlsApplicationProtocolFeature>(Negotiated.Http2);
            }
            await next(connection);
        });

    /// <summary>
    /// Whether the connection starts with the HTTP/2 preface; null when it ended before that was clear.
    /// </summary>
    private static async ValueTask<bool?> TryReadStartAsync(ConnectionContext connection, TimeSpan limit)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(connection.ConnectionClosed);
        timer.CancelAfter(limit);
        var input = connection.Transport.Input;
        try
        {
            while (true)
            {
                var read = await input.ReadAsync(timer.Token);
                var decision = IsHttp2(read.Buffer);
                input.AdvanceTo(read.Buffer.Start, decision is null ? read.Buffer.End : read.Buffer.Start);
                if (decision is not null)
                {
                    return decision;
                }
                if (read.IsCompleted || read.IsCanceled)
                {
                    // Too few bytes for an HTTP/1.1 request as well; the server rejects them, if there are any.
                    return read.Buffer.IsEmpty ? null : false;
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ConnectionResetException or IOException)
        {
            connection.Abort(new ConnectionAbortedException("the connection sent nothing in time"));
            return null;
        }
    }

    /// <summary>
    /// Null while both protocols are possible. No method of HTTP/1.1 starts like the preface (RFC 9113, 3.4).
    /// </summary>
    private static bool? IsHttp2(ReadOnlySequence<byte> input)
    {
        ReadOnlySpan<byte> preface = "PRI "u8;
        Span<byte> start = stackalloc byte[preface.Length];
        var length = (int)Math.Min(input.Length, preface.Length);
        input.Slice(0, length).CopyTo(start);
        return !start[..length].SequenceEqual(preface[..length]) ? false
            : length == preface.Length ? true
            : null;
    }

    /// <summary>A handshake that chose HTTP/2 and had no client certificate.</summary>
    private sealed class Negotiated : ITlsConnectionFeature, ITlsApplicationProtocolFeature
    {
        public static readonly Negotiated Http2 = new();

        public X509Certificate2? ClientCertificate
        {
            get => null;
            set => throw new NotSupportedException("there is no TLS on this connection");
        }

        public ReadOnlyMemory<byte> ApplicationProtocol => SslApplicationProtocol.Http2.Protocol;

        public Task<X509Certificate2?> GetClientCertificateAsync(CancellationToken cancellationToken) =>
            Task.FromResult<X509Certificate2?>(null);
    }
}
