using System.IO.Pipelines;
using System.Net.Sockets;
using Kedge.Host.Backends;
using Kedge.Host.Http;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Kedge.Host.Forwarding;

/// <summary>
/// What a CONNECT over HTTP/1.1 opens: bytes go both ways until both sides have ended (RFC 9110, 9.3.6). The server would
/// frame an answer's body in chunks, so the tunnel takes the decrypted connection from under it; the server neither reads
/// nor writes there while a request is being handled, and is told to end the connection afterwards.
/// </summary>
internal static class Tunnel
{
    // How long the caller may take to hear that the target has ended.
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(5);

    /// <summary>Opens the tunnel and carries it to its end. Not null: the answer to give, because there is none.</summary>
    /// <param name="context">Of the CONNECT.</param>
    /// <param name="endpoints">At least one; the first that takes a connection is it.</param>
    /// <param name="name">Of the target, for the answer.</param>
    /// <param name="timeout">For each endpoint.</param>
    public static async Task<LocalReply?> ServeAsync(HttpContext context, EndpointSet endpoints, string name, TimeSpan timeout)
    {
        using var socket = await ConnectAsync(endpoints, timeout, context.RequestAborted);
        if (socket is null)
        {
            return LocalReply.NoConnection(name, "there is nothing to open a tunnel to");
        }
        await RunAsync(context, socket);
        return null;
    }

    private static async Task<Socket?> ConnectAsync(EndpointSet endpoints, TimeSpan timeout, CancellationToken cancel)
    {
        foreach (var endpoint in endpoints.Endpoints)
        {
            var address = endpoint.Resolved.Address;
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(timeout);
            try
            {
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
                await socket.ConnectAsync(address, limit.Token);
                return socket;
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                socket.Dispose();
                cancel.ThrowIfCancellationRequested();
            }
        }
        return null;
    }

    /// <summary>Answers 200 and carries bytes until both sides have ended or one of them has broken off.</summary>
    private static async Task RunAsync(HttpContext context, Socket target)
    {
        var caller = context.Features.GetRequiredFeature<IConnectionTransportFeature>().Transport;
        var cancel = context.RequestAborted;
        await using var stream = new NetworkStream(target, ownsSocket: false);
        try
        {
            await caller.Output.WriteAsync("HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray(), cancel);
            var upwards = UpwardsAsync(caller.Input, stream, target, cancel);
            await stream.CopyToAsync(caller.Output, cancel);
            if (context.Features.Get<ISslStreamFeature>() is { } tls)
            {
                await tls.SslStream.ShutdownAsync();
            }
            // What was written last must have left before the connection is ended.
            await upwards.WaitAsync(Farewell, cancel);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or TimeoutException)
        {
            // One of the two has gone, and so does the other.
        }
        finally
        {
            context.Abort();
        }
    }

    private static async Task UpwardsAsync(PipeReader caller, NetworkStream stream, Socket target, CancellationToken cancel)
    {
        try
        {
            await caller.CopyToAsync(stream, cancel);
            target.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or InvalidOperationException)
        {
            target.Close();
        }
    }
}
