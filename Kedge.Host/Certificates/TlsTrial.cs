using System.IO.Pipelines;
using System.Net.Security;
using System.Security.Authentication;
using Kedge.Host.Http;

namespace Kedge.Host.Certificates;

/// <summary>
/// Tries a handshake with an identity, in memory, before it comes into use: only the TLS library knows whether it
/// accepts a certificate and its chain. A key can be too short for its security level, for example.
/// </summary>
public static class TlsTrial
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10);

    /// <summary>Why no handshake would succeed; null when one does.</summary>
    public static string? Problem(ServerIdentity identity) =>
        FailureAsync(identity).GetAwaiter().GetResult() is { } failure
            ? $"the TLS library rejects it: {failure}"
            : null;

    private static async Task<string?> FailureAsync(ServerIdentity identity)
    {
        try
        {
            // Tries the context for event loops; the handshake below tries the stream's.
            _ = identity.LoopContextFor(ListenerKind.HttpTls);
        }
        catch (AuthenticationException e)
        {
            return e.Message;
        }
        using var limit = new CancellationTokenSource(Limit);
        var toServer = new Pipe();
        var toClient = new Pipe();
        await using var server = new SslStream(new Duplex(toServer.Reader.AsStream(), toClient.Writer.AsStream()));
        await using var client = new SslStream(new Duplex(toClient.Reader.AsStream(), toServer.Writer.AsStream()));
        var served = server.AuthenticateAsServerAsync(identity.OptionsForTrial(), limit.Token);
        var connected = client.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = "localhost",
                RemoteCertificateValidationCallback = static (_, certificate, _, _) => certificate is not null,
            },
            limit.Token);
        try
        {
            await served;
            return null;
        }
        catch (Exception e) when (e is AuthenticationException or IOException or OperationCanceledException)
        {
            return Innermost(e).Message;
        }
        finally
        {
            await limit.CancelAsync();
            await connected.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static Exception Innermost(Exception e) => e.InnerException is { } inner ? Innermost(inner) : e;

    private sealed class Duplex(Stream input, Stream output) : AsyncStream
    {
        public override bool CanWrite => true;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            input.ReadAsync(buffer, cancellationToken);

        public override ValueTask WriteAsync(
            ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
            output.WriteAsync(buffer, cancellationToken);

        public override Task FlushAsync(CancellationToken cancellationToken) => output.FlushAsync(cancellationToken);

        public override void Flush()
        {
        }
    }
}
