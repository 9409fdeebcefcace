using System.Net.Security;
using System.Security.Authentication;
using Kedge.Host.Certificates;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace Kedge.Host.Listeners;

/// <summary>
/// Counts and logs TLS handshakes that fail. The server writes their cause only to its debug log, where
/// <see cref="HandshakeLog"/> picks it up.
/// </summary>
internal sealed class Handshakes(HandshakeFailures counters, ILogger logger)
{
    // A fatal alert (RFC 8446, 6; RFC 6066, 3), which the runtime cannot send from its certificate callback.
    private static readonly ReadOnlyMemory<byte> UnrecognizedName = new byte[] { 21, 3, 3, 0, 2, 2, 112 };

    private static readonly AsyncLocal<Handshake?> Current = new();

    private readonly LogThrottle _lines = new();

    /// <summary>Must be added before TLS.</summary>
    public void Watch(ListenOptions listener, ListenerKind kind) =>
        listener.Use(next => async connection =>
        {
            var handshake = new Handshake();
            connection.Features.Set(handshake);
            Current.Value = handshake;
            try
            {
                await next(connection);
            }
            catch (Exception e) when (!handshake.IsDone)
            {
                // The TLS stream also throws exceptions of other types when messages arrive in the wrong order.
                handshake.Cause = e;
            }
            if (!handshake.IsDone)
            {
                Report(kind, connection, handshake);
            }
        });

    /// <summary>Must be added after TLS.</summary>
    public static void EndWatch(ListenOptions listener) =>
        listener.Use(next => connection =>
        {
            connection.Features.Get<Handshake>()!.IsDone = true;
            if (connection.Features.Get<ServedName>() is { } served
                && connection.Features.Get<ITlsHandshakeFeature>() is { } tls)
            {
                served.Handshakes.Count(tls.Protocol);
            }
            // Requests do not inherit it.
            Current.Value = null;
            return next(connection);
        });

    /// <summary>Chooses the certificate of a handshake.</summary>
    /// <exception cref="AuthenticationException">No certificate covers the name that the client asks for.</exception>
    public static async ValueTask<SslServerAuthenticationOptions> ChooseAsync(
        TlsHandshakeCallbackContext context, ListenerKind kind, CertificateStore certificates)
    {
        var connection = context.Connection;
        var handshake = connection.Features.Get<Handshake>()!;
        var options = certificates.OptionsFor(
            kind, context.ClientHelloInfo.ServerName, refusal => handshake.Refusal = refusal, out var served);
        if (options is not null)
        {
            connection.Features.Set(served);
            return options;
        }
        await RejectNameAsync(connection, served.Name, context.CancellationToken);
        throw new AuthenticationException("no certificate is for this name");
    }

    /// <summary>Sends the alert for a server name that no certificate covers.</summary>
    public static async ValueTask RejectNameAsync(ConnectionContext connection, string name, CancellationToken cancel)
    {
        connection.Features.Get<Handshake>()!.UnknownName = name;
        await connection.Transport.Output.WriteAsync(UnrecognizedName, cancel);
    }

    /// <summary>Records that the current handshake failed.</summary>
    public static void Failed(Exception? cause)
    {
        if (Current.Value is { } handshake)
        {
            handshake.Cause = cause;
        }
    }

    private void Report(ListenerKind kind, ConnectionContext connection, Handshake handshake)
    {
        var (reason, detail) = handshake.Outcome();
        counters.Count(kind, reason);
        // Load balancers only check whether the port is open.
        var level = reason == HandshakeFailure.Closed ? LogLevel.Debug : LogLevel.Information;
        if (!logger.IsEnabled(level) || !_lines.TryTake(out var unlogged))
        {
            return;
        }
        logger.Log(
            level,
            "TLS handshake failed on {Listener}: peer {Peer}, {Reason}: {Detail}; {Unlogged} more since the last line",
            kind.Name(), connection.RemoteEndPoint, reason.Label(), detail, unlogged);
    }

    /// <summary>What kedge knows about one connection's handshake.</summary>
    private sealed class Handshake
    {
        public bool IsDone { get; set; }

        public ClientRefusal? Refusal { get; set; }

        public Exception? Cause { get; set; }

        /// <summary>The name that the client asked for, when no certificate covers it; may be empty.</summary>
        public string? UnknownName { get; set; }

        public (HandshakeFailure Reason, string Detail) Outcome()
        {
            if (Refusal is { } refusal)
            {
                return (
                    refusal.IsAbsent ? HandshakeFailure.NoClientCertificate : HandshakeFailure.ClientCertificate,
                    refusal.Reason);
            }
            if (UnknownName is { } name)
            {
                return (
                    HandshakeFailure.UnknownName,
                    name.Length == 0 ? "the client asked for no name" : $"no certificate is for '{name}'");
            }
            if (Cause is null)
            {
                return (HandshakeFailure.Timeout, "not finished in time, or given up");
            }
            var message = Innermost(Cause).Message;
            return (ReasonOf(Cause, message), message);
        }

        private static HandshakeFailure ReasonOf(Exception cause, string message) =>
            cause is IOException ? HandshakeFailure.Closed
            : message.Contains("alert", StringComparison.OrdinalIgnoreCase) ? HandshakeFailure.Alert
            : message.Contains("frame", StringComparison.Ordinal)
                || message.Contains("http request", StringComparison.Ordinal) ? HandshakeFailure.NotTls
            : HandshakeFailure.Protocol;

        private static Exception Innermost(Exception e) => e.InnerException is { } inner ? Innermost(inner) : e;
    }
}
