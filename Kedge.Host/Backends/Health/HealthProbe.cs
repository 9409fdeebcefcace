using System.Buffers.Binary;
using System.Net;
using System.Text;
using Kedge.Domain.Decoded;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Backends.Health;

/// <summary>A health check of an endpoint: a GET request, or a call to grpc.health.v1's Check.</summary>
internal sealed class HealthProbe(UpstreamClient client, HealthCheck check, ConnectionObserver observer)
{
    private const int MaxReplyBytes = 1024;

    private readonly byte[] _message = client.Protocol.IsGrpc ? Request(check.GrpcService) : [];

    /// <summary>Checks once.</summary>
    /// <returns>Null when the endpoint is healthy, otherwise the reason why not.</returns>
    /// <exception cref="OperationCanceledException"><paramref name="stop"/> was cancelled.</exception>
    public async Task<string?> ProbeAsync(Endpoint endpoint, TimeSpan timeout, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(timeout);
        try
        {
            try
            {
                return await ProbeAsync(endpoint, onNewConnection: false, limit.Token);
            }
            catch (UpstreamException e) when (e is { ConnectionWasReused: true, BeforeAnyResponseByte: true })
            {
                // The endpoint closed an idle connection, which says nothing about its health.
                return await ProbeAsync(endpoint, onNewConnection: true, limit.Token);
            }
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return "no response within the timeout";
        }
        catch (UpstreamException e) when (!stop.IsCancellationRequested)
        {
            return e.Kind == FailureKind.Connect
                ? $"no connection: {ConnectFailure.Reason(e)}"
                : "the endpoint closed the connection early";
        }
    }

    private async Task<string?> ProbeAsync(Endpoint endpoint, bool onNewConnection, CancellationToken cancel)
    {
        var request = new UpstreamRequest
        {
            Method = client.Protocol.IsGrpc ? "POST" : "GET",
            Target = client.Protocol.IsGrpc ? "/grpc.health.v1.Health/Check" : check.HttpPath,
            Scheme = client.Scheme,
            Authority = endpoint.Resolved.DnsName.Length > 0 ? endpoint.Resolved.DnsName : endpoint.Name,
        };
        request.Fields.Add("User-Agent", "kedge-health-check");
        if (client.Protocol.IsGrpc)
        {
            request.Fields.Add("TE", "trailers");
            request.Fields.Add("Content-Type", "application/grpc");
            request.Content = new ByteArrayContent(_message);
        }
        using var response = await client.SendAsync(
            endpoint, request, onNewConnection, observer, cancel);
        return client.Protocol.IsGrpc
            ? await GrpcProblemAsync(response, cancel)
            : (int)response.StatusCode is >= 200 and < 400 ? null : $"HTTP {(int)response.StatusCode}";
    }

    private static async Task<string?> GrpcProblemAsync(UpstreamResponse response, CancellationToken cancel)
    {
        if (response.StatusCode != HttpStatusCode.OK)
        {
            return $"HTTP {(int)response.StatusCode}";
        }
        await using var body = await response.Content.ReadAsStreamAsync(cancel);
        var reply = new byte[MaxReplyBytes];
        var length = await body.ReadAtLeastAsync(reply, reply.Length, throwOnEndOfStream: false, cancel);
        // A trailers-only response carries the status in its headers.
        if (!response.Fields.TryGet(GrpcHeaders.Status, out var status)
            && response.Trailers?.TryGet(GrpcHeaders.Status, out status) is not true)
        {
            return "no gRPC status";
        }
        if (status != "0")
        {
            return $"gRPC status {status}";
        }
        return ServingStatus(reply.AsSpan(0, length)) switch
        {
            1 => null,
            2 => "it reports NOT_SERVING",
            _ => "it does not report SERVING",
        };
    }

    /// <summary>HealthCheckRequest { string service = 1; }, length-prefixed.</summary>
    private static byte[] Request(string service)
    {
        using var message = new MemoryStream();
        if (service.Length > 0)
        {
            var name = Encoding.UTF8.GetBytes(service);
            message.WriteByte(0x0a);
            var rest = name.Length;
            for (; rest > 0x7f; rest >>= 7)
            {
                message.WriteByte((byte)(rest & 0x7f | 0x80));
            }
            message.WriteByte((byte)rest);
            message.Write(name);
        }
        var framed = new byte[5 + message.Length];
        BinaryPrimitives.WriteInt32BigEndian(framed.AsSpan(1), (int)message.Length);
        message.ToArray().CopyTo(framed, 5);
        return framed;
    }

    /// <summary>
    /// HealthCheckResponse { ServingStatus status = 1; }: 0 = unknown (also when absent), 1 = SERVING, 2 = NOT_SERVING.
    /// </summary>
    private static int ServingStatus(ReadOnlySpan<byte> reply) =>
        reply is [0, _, _, _, _, 0x08, var status, ..] ? status : 0;
}
