using System.Buffers;
using System.IO.Pipelines;
using System.Net.Security;
using System.Security.Authentication;
using Kedge.Wire.Sockets;
using Kedge.Wire.Transport;

namespace Kedge.Wire.Tls;

/// <summary>
/// The server's side of TLS, between a transport and the server above it: decrypts reads and encrypts writes, without
/// streams and copies in between.
/// </summary>
public sealed class TlsServer : IDuplexPipe, IDisposable
{
    private readonly TlsSession _session;
    private readonly TlsInput _input;
    private readonly TlsOutput _output;

    private TlsServer(TlsSession session, IDuplexPipe transport, IMemoryAccount? account)
    {
        _session = session;
        _input = new(transport.Input, session, account);
        _output = new(transport.Output, session);
        Protocol = session.Protocol;
        CipherSuite = session.CipherSuite;
        ApplicationProtocol = session.ApplicationProtocol;
    }

    public PipeReader Input => _input;

    public PipeWriter Output => _output;

    /// <summary>The negotiated version.</summary>
    public SslProtocols Protocol { get; }

    /// <summary>The negotiated cipher suite.</summary>
    public TlsCipherSuite CipherSuite { get; }

    /// <summary>The protocol that ALPN selected; empty = the client offers none.</summary>
    public string ApplicationProtocol { get; }

    /// <summary>Waits for the server name that the client asks for. Consumes nothing.</summary>
    /// <param name="input">The transport.</param>
    /// <returns>The name; empty when the client asks for none, or for an invalid one.</returns>
    /// <exception cref="AuthenticationException">The input does not begin with a TLS handshake.</exception>
    /// <exception cref="IOException">The connection ended.</exception>
    public static async ValueTask<string> ReadNameAsync(PipeReader input, CancellationToken cancel)
    {
        while (true)
        {
            var read = await input.ReadAsync(cancel);
            var status = ClientHello.Read(read.Buffer, out var name);
            if (status == ClientHelloStatus.Complete)
            {
                input.AdvanceTo(read.Buffer.Start);
                return name;
            }
            input.AdvanceTo(read.Buffer.Start, read.Buffer.End);
            if (status == ClientHelloStatus.NotTls)
            {
                throw new AuthenticationException("the first bytes are not the frame of a TLS handshake");
            }
            ThrowIfEnded(read);
        }
    }

    /// <summary>Performs the handshake.</summary>
    /// <param name="context">Provides the certificate.</param>
    /// <param name="transport">Carries the records. Not disposed of or completed.</param>
    /// <param name="account">Charged for the bytes held beyond the buffers of the transport; null = none.</param>
    /// <param name="loop">
    /// The loop of the transport; null = none. The handshake runs on pool threads up to the server's signature, which
    /// takes a millisecond with a large key. The rest of a TLS 1.3 handshake is short, and continues on the loop. After
    /// a HelloRetryRequest, which few clients need, the signature is made there too.
    /// </param>
    /// <exception cref="AuthenticationException">The handshake failed; the client was sent an alert.</exception>
    /// <exception cref="IOException">The connection ended.</exception>
    public static async ValueTask<TlsServer> AcceptAsync(
        TlsServerContext context,
        IDuplexPipe transport,
        IMemoryAccount? account,
        IEventLoopFeature? loop,
        CancellationToken cancel)
    {
        var session = new TlsSession(context);
        try
        {
            while (true)
            {
                var read = await transport.Input.ReadAsync(cancel);
                bool isDone;
                try
                {
                    isDone = Continue(session, read.Buffer, out var taken);
                    transport.Input.AdvanceTo(taken);
                }
                catch (AuthenticationException)
                {
                    transport.Input.AdvanceTo(read.Buffer.End);
                    // Sends the alert, if the client still accepts it.
                    await FlushAsync(session, transport.Output, cancel);
                    throw;
                }
                // After a TLS 1.3 handshake, the records left are tickets, which are sent with the first response. A
                // TLS 1.2 handshake ends with a message from the server.
                if (!isDone || session.Protocol != SslProtocols.Tls13)
                {
                    await FlushAsync(session, transport.Output, cancel);
                }
                if (isDone)
                {
                    return new(session, transport, account);
                }
                ThrowIfEnded(read);
                if (loop is not null && session.Protocol == SslProtocols.Tls13)
                {
                    loop.ContinuesOnPool = false;
                }
            }
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Ends the server's direction with <c>close_notify</c> (RFC 8446, 6.1).</summary>
    public ValueTask ShutdownAsync() => _output.ShutdownAsync();

    /// <summary>
    /// Frees the session. From now on, reads return the end and writes are ignored; either may still be in progress.
    /// </summary>
    public void Dispose() => _session.Dispose();

    private static unsafe bool Continue(
        TlsSession session, in ReadOnlySequence<byte> records, out SequencePosition taken)
    {
        var count = 0L;
        foreach (var part in records)
        {
            fixed (byte* bytes = part.Span)
            {
                session.SetInput(bytes, part.Length);
                var progress = session.Handshake();
                count += part.Length - session.InputLeft;
                session.SetInput(null, 0);
                if (progress == TlsProgress.Done)
                {
                    taken = records.GetPosition(count);
                    return true;
                }
            }
        }
        taken = records.End;
        return false;
    }

    private static async ValueTask FlushAsync(TlsSession session, PipeWriter output, CancellationToken cancel)
    {
        session.WriteRest(output);
        await output.FlushAsync(cancel);
    }

    private static void ThrowIfEnded(in ReadResult read)
    {
        if (read.IsCompleted || read.IsCanceled)
        {
            throw new IOException("the client closed the connection during the handshake");
        }
    }
}
