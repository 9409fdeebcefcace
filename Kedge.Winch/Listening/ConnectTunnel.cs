using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Text;
using Kedge.Client;
using Kedge.Client.Connections;
using Kedge.Client.Domain;
using Kedge.Domain;
using Kedge.Host.Http;
using Kedge.Winch.Proxying;
using Microsoft.AspNetCore.Connections;

namespace Kedge.Winch.Listening;

/// <summary>
/// Serves CONNECT. For an unmapped host, it opens a plain tunnel. For a mapped host, it responds first, and the first
/// bytes of the client decide: clear-text HTTP/1.1 and HTTP/2 (WebSockets of browsers, gRPC libraries with a proxy
/// setting) become ordinary requests; TLS is tunnelled to the kedge with CONNECT if the route allows it, and closed
/// otherwise.
/// </summary>
internal sealed class ConnectTunnel(
    FrontDoor door,
    WinchStates states,
    KedgeHandler kedges,
    DirectDialer dialer,
    ClientCredentials credentials,
    WinchMetrics metrics,
    ILogger logger)
{
    private const int MaxHead = 16 * 1024;
    private const int HttpsPort = 443;

    private static readonly TimeSpan HeadTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);

    // For a client that waits for the server to speak first.
    private static readonly TimeSpan SilenceTimeout = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan InnerTimeout = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(5);

    // A fatal alert of TLS 1.0 and later, access_denied (RFC 8446, 6).
    private static readonly byte[] AccessDenied = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x31];

    public async Task ServeAsync(ConnectionContext connection, Arrival arrival)
    {
        var handedOver = false;
        try
        {
            handedOver = await RunAsync(connection, arrival);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or TimeoutException)
        {
            // One side has gone, so the other is closed, too.
        }
        finally
        {
            if (!handedOver)
            {
                await connection.DisposeAsync();
            }
        }
    }

    /// <returns>Whether the server owns the connection now.</returns>
    private async Task<bool> RunAsync(ConnectionContext connection, Arrival arrival)
    {
        var (input, output) = (connection.Transport.Input, connection.Transport.Output);
        var head = await ReadHeadAsync(input, HeadTimeout);
        if (head is null || !TryParse(head, out var authority, out var proxyAuthorization)
            || !Target.TryParse(authority, HttpsPort, out var target))
        {
            await FailAsync(output, "", WinchError.BadRequest("the CONNECT request is malformed"));
            return false;
        }
        if (!credentials.Permit(proxyAuthorization))
        {
            await FailAsync(output, authority, WinchError.ProxyCredentials);
            return false;
        }
        var state = states.Current;
        var decision = state.Mapper.Decide(Protocol.Http, target);
        if (!decision.IsMapped)
        {
            decision = state.Mapper.Decide(Protocol.Grpc, target);
        }
        switch (decision)
        {
            case Decision.Kedge { route.TakesConnect: false } refused when target.Port == HttpsPort:
                await FailAsync(
                    output,
                    authority,
                    WinchError.ConnectRefused(target.Authority, refused.route.ToString()));
                return false;
            case Decision.Kedge mapped:
                await output.WriteAsync("HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray());
                return await InnerAsync(connection, arrival with { Tunnel = target }, state, mapped);
            case Decision.BadMapping bad:
                await FailAsync(
                    output,
                    authority,
                    WinchError.BadMapping($"{target}: routes[{bad.route.Index}] leads nowhere: {bad.reason}"));
                return false;
            case var _ when state.Mapper.RefusesUnmapped:
                await FailAsync(output, authority, WinchError.NotAKedgeDestination(target.Authority));
                return false;
            default:
                await DirectAsync(connection, target);
                return false;
        }
    }

    private async Task DirectAsync(ConnectionContext connection, Target target)
    {
        Stream stream;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(connection.ConnectionClosed);
        limit.CancelAfter(ConnectTimeout);
        try
        {
            stream = await dialer.ConnectAsync(target.Host, target.Port, limit.Token);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            await FailAsync(connection.Transport.Output, target.Authority, WinchError.Of(e, target.Authority));
            return;
        }
        await using (stream)
        {
            await connection.Transport.Output.WriteAsync("HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray());
            await CarryAsync(connection, stream);
        }
    }

    private async Task<bool> InnerAsync(
        ConnectionContext connection,
        Arrival arrival,
        WinchState state,
        Decision.Kedge mapped)
    {
        var passes = mapped.route.TakesConnect;
        var first = await Sniffer.LookAsync(connection.Transport.Input, passes ? SilenceTimeout : InnerTimeout);
        if (first is FirstBytes.Http1 or FirstBytes.Http2)
        {
            return door.TryServe(connection, first, arrival);
        }
        var target = arrival.Tunnel!;
        if (!passes)
        {
            if (first == FirstBytes.Tls)
            {
                await connection.Transport.Output.WriteAsync(AccessDenied);
                metrics.CountError("connect-refused");
                logger.LogWarning(
                    "CONNECT {Target}: {Route} does not take TLS; use http://, or set connect to passthrough",
                    target, mapped.route);
            }
            return false;
        }
        try
        {
            await using var stream = await ThroughKedgeAsync(
                connection,
                state.Routes.RouteTo(mapped.route, mapped.kedge),
                target);
            await CarryAsync(connection, stream);
        }
        catch (KedgeException e)
        {
            // The client already has its 200; all that remains is to close the connection and log the reason.
            var error = WinchError.Of(e, target.Authority);
            metrics.CountError(error.Type);
            logger.LogWarning("CONNECT {Target}: {Type}: {Reason}", target, error.Type, error.Reason);
        }
        return false;
    }

    /// <summary>Opens a tunnel to the target through its kedge.</summary>
    private async Task<Stream> ThroughKedgeAsync(ConnectionContext connection, KedgeRoute route, Target target)
    {
        var cancel = connection.ConnectionClosed;
        var token = await KedgeHandler.TokenAsync(route.ProxyAuth, cancel);
        var stream = await kedges
            .ClientOf(route)
            .DialAsync(route.Kedge.IdnHost, route.Kedge.Port, ConnectTimeout, cancel);
        try
        {
            var credentials = token is null ? "" : $"Proxy-Authorization: {token.Scheme} {token.Value}\r\n";
            await stream.WriteAsync(
                Encoding.ASCII.GetBytes(
                    $"CONNECT {target.Authority} HTTP/1.1\r\nHost: {target.Authority}\r\n{credentials}"
                        + $"X-Kedge-Request-ID: winch-{Guid.NewGuid()}\r\n\r\n"),
                cancel);
            var reader = PipeReader.Create(stream, new StreamPipeReaderOptions(leaveOpen: true));
            var head =
                await ReadHeadAsync(reader, HeadTimeout)
                ?? throw KedgeConnector.Unreachable(
                    route.Kedge.IdnHost,
                    route.Kedge.Port,
                    "it does not answer CONNECT",
                    null);
            if (head.Split(' ') is not [_, ['2', ..], ..])
            {
                throw new KedgeException(
                    KedgeFailure.KedgeUnreachable,
                    $"the kedge {route.Kedge.Authority} refuses CONNECT: {head.Split("\r\n")[0]}");
            }
            // The bytes after the head come from the target.
            return new PrefixedStream(reader, stream);
        }
        catch
        {
            await stream.DisposeAsync();
            throw;
        }
    }

    private async Task FailAsync(PipeWriter output, string authority, WinchError error)
    {
        metrics.CountError(error.Type);
        logger.LogWarning("CONNECT {Authority}: {Type}: {Reason}", authority, error.Type, error.Reason);
        await output.WriteAsync(error.ToRawResponse());
    }

    /// <summary>Copies bytes both ways until both sides end, or one breaks off.</summary>
    private static async Task CarryAsync(ConnectionContext connection, Stream target)
    {
        var up = UpAsync(connection.Transport.Input, target, connection.ConnectionClosed);
        await target.CopyToAsync(connection.Transport.Output, connection.ConnectionClosed);
        await connection.Transport.Output.CompleteAsync();
        await up.WaitAsync(Farewell);
    }

    private static async Task UpAsync(PipeReader input, Stream target, CancellationToken cancel)
    {
        try
        {
            await input.CopyToAsync(target, cancel);
            if (target is NetworkStream { Socket: var socket })
            {
                socket.Shutdown(SocketShutdown.Send);
            }
        }
        catch (Exception e)
            when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            await target.DisposeAsync();
        }
    }

    /// <summary>
    /// The head up to the empty line, without it; null when the line does not come in time or is too far away.
    /// </summary>
    private static async Task<string?> ReadHeadAsync(PipeReader input, TimeSpan timeout)
    {
        using var limit = new CancellationTokenSource(timeout);
        try
        {
            while (true)
            {
                var read = await input.ReadAsync(limit.Token);
                var reader = new SequenceReader<byte>(read.Buffer);
                if (reader.TryReadTo(out ReadOnlySequence<byte> head, "\r\n\r\n"u8))
                {
                    var text = Encoding.Latin1.GetString(head);
                    input.AdvanceTo(reader.Position);
                    return text;
                }
                input.AdvanceTo(read.Buffer.Start, read.Buffer.End);
                if (read.IsCompleted || read.Buffer.Length > MaxHead)
                {
                    return null;
                }
            }
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    private static bool TryParse(string head, out string authority, out string? proxyAuthorization)
    {
        var lines = head.Split("\r\n");
        proxyAuthorization = null;
        authority = "";
        if (lines[0].Split(' ') is not ["CONNECT", { Length: > 0 } target, "HTTP/1.1" or "HTTP/1.0"])
        {
            return false;
        }
        authority = target;
        foreach (var line in lines.Skip(1))
        {
            var colon = line.IndexOf(':');
            if (colon <= 0 || line.AsSpan().ContainsAny('\n', '\0'))
            {
                return false;
            }
            if (line.AsSpan(0, colon).Equals("Proxy-Authorization", StringComparison.OrdinalIgnoreCase))
            {
                proxyAuthorization = line[(colon + 1)..].Trim();
            }
        }
        return true;
    }

    /// <summary>A stream some of whose bytes a reader has already buffered.</summary>
    private sealed class PrefixedStream(PipeReader read, Stream inner) : AsyncStream
    {
        public override bool CanRead => true;

        public override bool CanWrite => true;

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer,
            CancellationToken cancellationToken = default)
        {
            var result = await read.ReadAsync(cancellationToken);
            var slice = result.Buffer.Slice(0, Math.Min(buffer.Length, result.Buffer.Length));
            slice.CopyTo(buffer.Span);
            read.AdvanceTo(slice.End);
            return (int)slice.Length;
        }

        public override ValueTask WriteAsync(
            ReadOnlyMemory<byte> buffer,
            CancellationToken cancellationToken = default
        ) => inner.WriteAsync(buffer, cancellationToken);

        public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

        public override void Flush() => inner.Flush();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                inner.Dispose();
            }
            base.Dispose(disposing);
        }
    }
}
