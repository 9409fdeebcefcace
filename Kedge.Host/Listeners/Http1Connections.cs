using Kedge.Host.Http;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>
/// What an HTTP/1.1 connection needs and an HTTP/2 connection does not: the strict check of chunks, and time for
/// callers that close only their own side.
/// </summary>
internal static class Http1Connections
{
    /// <summary>Must be added after TLS.</summary>
    public static void UseHttp1Rules(this ListenOptions listener) =>
        listener.Use(next => connection =>
            Http2Connections.IsHttp2(connection) ? next(connection) : RunAsync(connection, next));

    private static async Task RunAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        var transport = connection.Transport;
        var input = new ChunkedInput(transport.Input);
        connection.Features.Set(input);
        connection.Transport = new DuplexPipe(input, transport.Output);
        using var halfClose = HalfClose.Watch(connection);
        await next(connection);
    }

    /// <summary>
    /// A caller that has sent its request may close its side and wait for the response (RFC 9112, 9.6). On the wire,
    /// that looks like a caller that has left. So the exchange continues while the response makes progress, and ends
    /// when nothing has been sent for <see cref="HalfCloseTimeout"/>: a caller that has left responds to data with a
    /// reset.
    /// </summary>
    private sealed class HalfClose : IDisposable
    {
        private static readonly TimeSpan HalfCloseTimeout = TimeSpan.FromSeconds(2);

        private readonly CancellationTokenSource _closed = new();
        private readonly IFeatureCollection _features;
        private readonly CancellationTokenRegistration _registration;

        private HalfClose(ConnectionContext connection)
        {
            _features = connection.Features;
            _registration = connection.ConnectionClosed.UnsafeRegister(
                static watch => ((HalfClose)watch!).InputEnded(), this);
            connection.ConnectionClosed = _closed.Token;
        }

        public static HalfClose Watch(ConnectionContext connection) => new(connection);

        public void Dispose() => _registration.Dispose();

        private void InputEnded() => _ = EndAsync();

        private async Task EndAsync()
        {
            var wait = HalfCloseTimeout;
            do
            {
                await Task.Delay(wait);
                wait = TimeUntilSilent();
            }
            while (wait > TimeSpan.Zero);
            await _closed.CancelAsync();
        }

        /// <summary>How much longer the connection may be silent; zero or negative when it must end.</summary>
        private TimeSpan TimeUntilSilent() =>
            TcpInfo.Of(_features) is { IsHalfClosed: true } info
                ? HalfCloseTimeout - info.SinceDataSent
                : TimeSpan.Zero;
    }
}
