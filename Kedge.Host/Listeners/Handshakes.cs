using Kedge.Host.Certificates;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>
/// Counts and logs TLS handshakes that fail. The server only writes their cause to its debug log, from where
/// <see cref="HandshakeLog"/> takes it.
/// </summary>
internal sealed class Handshakes(HandshakeFailures counters, ILogger logger)
{
    private static readonly AsyncLocal<Handshake?> Current = new();

    private readonly LogThrottle _lines = new();

    /// <summary>To be added before TLS.</summary>
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
                // The TLS stream throws exceptions of other types, too, when messages come in the wrong order.
                handshake.Cause = e;
            }
            if (!handshake.IsDone)
            {
                Report(kind, connection, handshake);
            }
        });

    /// <summary>To be added after TLS.</summary>
    public static void EndWatch(ListenOptions listener) =>
        listener.Use(next => connection =>
        {
            connection.Features.Get<Handshake>()!.IsDone = true;
            // Requests run without it.
            Current.Value = null;
            return next(connection);
        });

    /// <summary>The handshake of the connection was refused because of the client's certificate.</summary>
    public static Action<ClientRefusal> RefusalOf(ConnectionContext connection) =>
        refusal => connection.Features.Get<Handshake>()!.Refusal = refusal;

    /// <summary>The handshake that runs now failed.</summary>
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

    /// <summary>What is known of the handshake of one connection.</summary>
    private sealed class Handshake
    {
        public bool IsDone { get; set; }

        public ClientRefusal? Refusal { get; set; }

        public Exception? Cause { get; set; }

        public (HandshakeFailure Reason, string Detail) Outcome()
        {
            if (Refusal is { } refusal)
            {
                return (
                    refusal.IsAbsent ? HandshakeFailure.NoClientCertificate : HandshakeFailure.ClientCertificate,
                    refusal.Reason);
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
