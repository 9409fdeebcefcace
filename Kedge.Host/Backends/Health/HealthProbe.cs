using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Kedge.Domain.Decoded;
using Kedge.Host.Backends.Connections;
using Kedge.Host.Http;

namespace Kedge.Host.Backends.Health;

/// <summary>A health check of an endpoint: a GET request, or a call of grpc.health.v1's Check.</summary>
internal sealed class HealthProbe(UpstreamClient client, HealthCheck check)
{
    private const int MaxReplyBytes = 1024;

    private readonly byte[] _message = client.Protocol.IsGrpc ? Request(check.GrpcService) : [];

    /// <summary>Checks once.</summary>
    /// <returns>Null when the endpoint is healthy, else why it is not.</returns>
    /// <exception cref="OperationCanceledException"><paramref name="stop"/> was cancelled.</exception>
    public async Task<string?> ProbeAsync(Endpoint endpoint, TimeSpan timeout, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(timeout);
        try
        {
            try
            {
                return await ProbeAsync(endpoint, client.Pooled, limit.Token);
            }
            catch (Exception e) when (ConnectionLostException.In(e) is { Reused: true } or { NothingSent: true })
            {
                // The endpoint closed an idle connection, which says nothing about its health.
                return await ProbeAsync(endpoint, client.NewConnection, limit.Token);
            }
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return "no response within the timeout";
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            return ConnectFailure.Is(e)
                ? $"no connection: {ConnectFailure.Reason(e)}"
                : "the endpoint closed the connection early";
        }
    }

    private async Task<string?> ProbeAsync(Endpoint endpoint, HttpMessageInvoker invoker, CancellationToken cancel)
    {
        var config = client.ConfigFor(isUpgrade: false);
        var path = client.Protocol.IsGrpc ? "/grpc.health.v1.Health/Check" : check.HttpPath;
        using var request = new HttpRequestMessage(
            client.Protocol.IsGrpc ? HttpMethod.Post : HttpMethod.Get, endpoint.UriOf(path, ""))
        {
            Version = config.Version!,
            VersionPolicy = config.VersionPolicy!.Value,
        };
        request.Options.Set(Connector.EndpointOption, endpoint);
        request.Headers.TryAddWithoutValidation("User-Agent", "kedge-health-check");
        if (endpoint.Resolved.DnsName.Length > 0)
        {
            request.Headers.TryAddWithoutValidation("Host", endpoint.Resolved.DnsName);
        }
        if (client.Protocol.IsGrpc)
        {
            request.Headers.TryAddWithoutValidation("TE", "trailers");
            request.Content = new ByteArrayContent(_message);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        }
        using var response = await invoker.SendAsync(request, cancel);
        return client.Protocol.IsGrpc
            ? await GrpcProblemAsync(response, cancel)
            : (int)response.StatusCode is >= 200 and < 400 ? null : $"HTTP {(int)response.StatusCode}";
    }

    private static async Task<string?> GrpcProblemAsync(HttpResponseMessage response, CancellationToken cancel)
    {
        if (response.StatusCode != HttpStatusCode.OK)
        {
            return $"HTTP {(int)response.StatusCode}";
        }
        await using var body = await response.Content.ReadAsStreamAsync(cancel);
        var reply = new byte[MaxReplyBytes];
        var length = await body.ReadAtLeastAsync(reply, reply.Length, throwOnEndOfStream: false, cancel);
        // A trailers-only response has the status in its headers.
        var headers = response.Headers.NonValidated;
        if (!headers.TryGetValues(GrpcHeaders.Status, out var values)
            && !response.TrailingHeaders.NonValidated.TryGetValues(GrpcHeaders.Status, out values))
        {
            return "no gRPC status";
        }
        var status = values.ToString();
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
