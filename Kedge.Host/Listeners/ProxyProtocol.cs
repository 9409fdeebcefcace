using System.Buffers;
using System.Net;
using Kedge.Host.Http;
using Kedge.Host.Telemetry;
using Kedge.Wire.ProxyProtocol;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Listeners;

/// <summary>
/// Reads the source of connections from the PROXY header that load balancers send before everything else. Connections
/// from the given networks must begin with a header, and all others must not: guessing would let callers forge
/// addresses. Closes connections that break this rule.
/// </summary>
/// <param name="networks">The networks that send headers; empty = none.</param>
/// <param name="limit">How long a header may take to arrive.</param>
/// <param name="counters">Counts the connections.</param>
/// <param name="logger">Where closed connections are reported.</param>
internal sealed class ProxyProtocol(
    IReadOnlyList<IPNetwork> networks, TimeSpan limit, ProxyProtocolCounters counters, ILogger logger)
{
    private readonly LogThrottle _lines = new();

    /// <summary>Must be added before everything that reads.</summary>
    public void AddTo(ListenOptions listener, ListenerKind kind)
    {
        if (networks.Count > 0)
        {
            listener.Use(next => async connection =>
            {
                if (await TryPrepareAsync(connection, kind))
                {
                    await next(connection);
                }
            });
        }
    }

    private static ReadOnlySpan<byte> SpanOf(in ReadOnlySequence<byte> input, byte[] copy)
    {
        if (input.IsSingleSegment)
        {
            return input.FirstSpan;
        }
        var length = (int)Math.Min(input.Length, copy.Length);
        input.Slice(0, length).CopyTo(copy);
        return copy.AsSpan(0, length);
    }

    /// <summary>Whether the connection begins as required; if so, its input continues after the header.</summary>
    private async ValueTask<bool> TryPrepareAsync(ConnectionContext connection, ListenerKind kind)
    {
        var isListed = (connection.RemoteEndPoint as IPEndPoint)?.Address is { } peer && Holds(peer);
        var hasReceived = false;
        var hasEnded = false;
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(connection.ConnectionClosed);
        timer.CancelAfter(limit);
        var copy = ArrayPool<byte>.Shared.Rent(ProxyHeader.MaxLength);
        try
        {
            var input = connection.Transport.Input;
            while (true)
            {
                var read = await input.ReadAsync(timer.Token);
                var buffer = read.Buffer;
                hasReceived |= !buffer.IsEmpty;
                if ((isListed ? Expect(connection, buffer, copy) : Reject(buffer, copy)) is var (result, length))
                {
                    input.AdvanceTo(buffer.GetPosition(length));
                    return Judge(result, connection, kind);
                }
                input.AdvanceTo(buffer.Start, buffer.End);
                if (read.IsCompleted || read.IsCanceled)
                {
                    hasEnded = true;
                    break;
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ConnectionResetException or IOException)
        {
            hasEnded = e is not OperationCanceledException || connection.ConnectionClosed.IsCancellationRequested;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(copy);
        }
        if (isListed && (hasReceived || !hasEnded))
        {
            // A load balancer that only checks whether the port is open sends nothing, which is not a fault.
            return Judge(
                hasReceived ? ProxyProtocolResult.Malformed : ProxyProtocolResult.Missing, connection, kind);
        }
        connection.Abort(new ConnectionAbortedException("the connection sent nothing in time"));
        return false;
    }

    /// <summary>Null while more bytes are needed; otherwise the result, and the header length in bytes.</summary>
    private static (ProxyProtocolResult? Result, int Length)? Expect(
        ConnectionContext connection, in ReadOnlySequence<byte> input, byte[] copy)
    {
        var header = ProxyHeader.Read(SpanOf(input, copy));
        if (header.Source is { } source)
        {
            connection.RemoteEndPoint = source;
        }
        if (connection.Features.Get<ICallerConnection>() is GatedConnection gated)
        {
            gated.PrefaceLength = header.Length;
        }
        return header.Status switch
        {
            ProxyHeaderStatus.Incomplete => null,
            ProxyHeaderStatus.V1 => (ProxyProtocolResult.V1, header.Length),
            ProxyHeaderStatus.V2 => (ProxyProtocolResult.V2, header.Length),
            ProxyHeaderStatus.Local => (ProxyProtocolResult.Local, header.Length),
            ProxyHeaderStatus.Absent => (ProxyProtocolResult.Missing, 0),
            _ => (ProxyProtocolResult.Malformed, 0),
        };
    }

    /// <summary>As <see cref="Expect"/>, for a peer that must not send a header; no result = it sent none.</summary>
    private static (ProxyProtocolResult? Result, int Length)? Reject(in ReadOnlySequence<byte> input, byte[] copy) =>
        ProxyHeader.StartsOne(SpanOf(input, copy)) switch
        {
            null => null,
            true => (ProxyProtocolResult.Unexpected, 0),
            false => (null, 0),
        };

    private bool Holds(IPAddress peer)
    {
        var address = peer.IsIPv4MappedToIPv6 ? peer.MapToIPv4() : peer;
        for (var i = 0; i < networks.Count; i++)
        {
            if (networks[i].Contains(address))
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Whether the connection may continue.</summary>
    private bool Judge(ProxyProtocolResult? result, ConnectionContext connection, ListenerKind kind)
    {
        if (result is not { } counted)
        {
            return true;
        }
        counters.Count(counted);
        if (counted is ProxyProtocolResult.V1 or ProxyProtocolResult.V2 or ProxyProtocolResult.Local)
        {
            return true;
        }
        if (logger.IsEnabled(LogLevel.Information) && _lines.TryTake(out var unlogged))
        {
            logger.LogInformation(
                "connection closed on {Listener}: peer {Peer}, PROXY header {Result}; {Unlogged} more since the "
                + "last line",
                kind.Name(), connection.RemoteEndPoint, ProxyProtocolCounters.Label(counted), unlogged);
        }
        connection.Abort(new ConnectionAbortedException("its PROXY header is not as it has to be"));
        return false;
    }
}
