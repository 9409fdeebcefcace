using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Kedge.Domain.Decoded;
using Kedge.Host.Backends.Connections;

namespace Kedge.Host.Backends.Health;

/// <summary>One question to an endpoint whether it is well: a GET, or grpc.health.v1's Check.</summary>
internal sealed class HealthProbe(UpstreamClient client, HealthCheck check)
{
    private const int LongestReply = 1024;
    private const string GrpcStatusHeader = "grpc-status";

    private static readonly UriCreationOptions Verbatim = new() { DangerousDisablePathAndQueryCanonicalization = true };

    private readonly byte[] _message = client.IsGrpc ? Message(check.GrpcService) : [];

    /// <summary>Null when the endpoint is well, else why it is not. Throws only when cancelled.</summary>
    public async Task<string?> AskAsync(Endpoint endpoint, TimeSpan timeout, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(timeout);
        try
        {
            try
            {
                return await AskAsync(endpoint, client.Shared, limit.Token);
            }
            catch (Exception e) when (ConnectionLostException.In(e) is { Reused: true } or { NothingSent: true })
            {
                // The endpoint had closed a connection that was idle: that says nothing.
                return await AskAsync(endpoint, client.Fresh, limit.Token);
            }
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return "no answer in time";
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            return ConnectFailure.Is(e) ? $"no connection: {ConnectFailure.Reason(e)}" : "the endpoint broke off";
        }
    }

    private async Task<string?> AskAsync(Endpoint endpoint, HttpMessageInvoker invoker, CancellationToken cancel)
    {
        var config = client.ConfigFor(isUpgrade: false);
        var path = client.IsGrpc ? "/grpc.health.v1.Health/Check" : check.HttpPath;
        using var request = new HttpRequestMessage(
            client.IsGrpc ? HttpMethod.Post : HttpMethod.Get, new Uri(endpoint.UriPrefix + path, Verbatim))
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
        if (client.IsGrpc)
        {
            request.Headers.TryAddWithoutValidation("TE", "trailers");
            request.Content = new ByteArrayContent(_message);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        }
        using var response = await invoker.SendAsync(request, cancel);
        return client.IsGrpc
            ? await GrpcVerdictAsync(response, cancel)
            : (int)response.StatusCode is >= 200 and < 400 ? null : $"it answered {(int)response.StatusCode}";
    }

    private static async Task<string?> GrpcVerdictAsync(HttpResponseMessage response, CancellationToken cancel)
    {
        if (response.StatusCode != HttpStatusCode.OK)
        {
            return $"it answered {(int)response.StatusCode}";
        }
        await using var body = await response.Content.ReadAsStreamAsync(cancel);
        var reply = new byte[LongestReply];
        var length = await body.ReadAtLeastAsync(reply, reply.Length, throwOnEndOfStream: false, cancel);
        // Trailers-only answers have it among the headers.
        var headers = response.Headers.NonValidated.Contains(GrpcStatusHeader) ? response.Headers : response.TrailingHeaders;
        var status = headers.NonValidated.TryGetValues(GrpcStatusHeader, out var values) ? values.ToString() : "none";
        return status != "0" ? $"it answered with gRPC status {status}"
            : ServingStatus(reply.AsSpan(0, length)) is var serving && serving == 1 ? null
            : serving == 2 ? "it answered NOT_SERVING"
            : "it did not answer SERVING";
    }

    /// <summary>HealthCheckRequest { string service = 1; }, length-prefixed.</summary>
    private static byte[] Message(string service)
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

    /// <summary>HealthCheckResponse { ServingStatus status = 1; }: 0 = unknown (also: not given), 1 = SERVING, 2 = NOT_SERVING.</summary>
    private static int ServingStatus(ReadOnlySpan<byte> reply) => reply is [0, _, _, _, _, 0x08, var status, ..] ? status : 0;
}
