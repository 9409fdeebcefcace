using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;
using Kedge.Host.Routing;
using Kedge.Wire.Sockets;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Forwarding;

/// <summary>
/// The tunnel of a CONNECT request over HTTP/1.1: copies bytes both ways until both sides have ended (RFC 9110, 9.3.6).
/// The server would frame a response body in chunks, so the tunnel uses the decrypted connection below it. The server
/// neither reads nor writes there while the request is processed, and closes the connection afterwards.
/// </summary>
internal static class Tunnel
{
    // How long the caller may take to close its side after the target has closed.
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Opens the tunnel to the first endpoint that accepts a connection, and runs it to its end.</summary>
    /// <returns>Null when the tunnel was opened; the reply when it could not be.</returns>
    public static async Task<LocalReply?> RunAsync(HttpContext context, Destination destination)
    {
        Exception? refusal = null;
        foreach (var endpoint in destination.Endpoints.Endpoints)
        {
            Socket socket;
            try
            {
                socket = await ConnectAsync(endpoint.Resolved.Address, context.RequestAborted);
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                context.RequestAborted.ThrowIfCancellationRequested();
                refusal = e;
                continue;
            }
            using (socket)
            {
                await CopyAsync(context, socket);
            }
            return null;
        }
        return LocalReply.NoConnection(destination.Name, ConnectFailure.Reason(refusal));
    }

    private static async Task<Socket> ConnectAsync(EndPoint address, CancellationToken cancel)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timeout.CancelAfter(UpstreamClient.ConnectTimeout);
        return await TcpConnection.ConnectAsync(address, TcpConnection.DefaultKeepAlive, timeout.Token);
    }

    /// <summary>Responds with 200 and copies until both sides have ended or one of them has failed.</summary>
    private static async Task CopyAsync(HttpContext context, Socket target)
    {
        var caller = context.Features.GetRequiredFeature<IConnectionTransportFeature>().Transport;
        var cancel = context.RequestAborted;
        await using var stream = new NetworkStream(target, ownsSocket: false);
        try
        {
            await caller.Output.WriteAsync("HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray(), cancel);
            var upstream = CopyUpstreamAsync(caller.Input, stream, target, cancel);
            await stream.CopyToAsync(caller.Output, cancel);
            await TlsEnd.SendAsync(context.Features);
            // The last bytes must have been sent before the connection is closed.
            await upstream.WaitAsync(CloseTimeout, cancel);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or TimeoutException)
        {
            // One side failed, so the other one is closed.
        }
        finally
        {
            context.Abort();
        }
    }

    private static async Task CopyUpstreamAsync(
        PipeReader caller, NetworkStream stream, Socket target, CancellationToken cancel)
    {
        try
        {
            await caller.CopyToAsync(stream, cancel);
            target.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException
            or InvalidOperationException)
        {
            target.Close();
        }
    }
}
