using System.Net;
using System.Net.WebSockets;
using System.Text.Json;
using Grpc.Core;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Kedge.Host.Demo;

/// <summary>The backends that <c>kedge demo</c> embeds, and a configuration with routes to them.</summary>
public sealed class DemoBackends : IAsyncDisposable
{
    private readonly WebApplication _http;
    private readonly WebApplication _grpc;

    private DemoBackends(WebApplication http, WebApplication grpc)
    {
        _http = http;
        _grpc = grpc;
        HttpPort = PortOf(http);
        GrpcPort = PortOf(grpc);
    }

    /// <summary>
    /// Replies with a description of the request; <c>/stream</c> sends events, <c>/ws</c> echoes a WebSocket.
    /// </summary>
    public int HttpPort { get; }

    /// <summary>Serves <c>kedge.demo.Greeter</c> in plain text.</summary>
    public int GrpcPort { get; }

    /// <summary>
    /// Routes for localhost, for another host and for the Greeter, and a rule that lets <c>*.adhoc.demo</c> reach the
    /// HTTP backend.
    /// </summary>
    /// <param name="host">A host name, or an IP address with brackets around IPv6.</param>
    public string DirectorJson(string host) => $$"""
        {
          "grpc": {
            "routes": [ { "backend_name": "demo_grpc", "service_name_matcher": "kedge.demo.*" } ]
          },
          "http": {
            "routes": [
              {{string.Join(", ", HttpRoutes(host))}}
            ],
            "adhoc_rules": [
              {
                "dns_name_matcher": "*.adhoc.demo",
                "port": { "default": {{HttpPort}}, "allowed": [ {{HttpPort}} ] },
                "dns_name_replace": { "pattern": "adhoc.demo", "substitution": "localhost" }
              }
            ]
          }
        }
        """;

    private static IEnumerable<string> HttpRoutes(string host) =>
        from name in new[] { "localhost", "127.0.0.1", host.Trim('[', ']') }.Distinct()
        select $$"""{ "backend_name": "demo_http", "host_matcher": "{{name}}" }""";

    public string BackendPoolJson => $$"""
        {
          "grpc": {
            "backends": [ { "name": "demo_grpc", "host": { "dns_name": "127.0.0.1", "port": {{GrpcPort}} } } ]
          },
          "http": {
            "backends": [ { "name": "demo_http", "host": { "dns_name": "127.0.0.1", "port": {{HttpPort}} } } ]
          }
        }
        """;

    /// <summary>Starts both on free ports of the loopback interface.</summary>
    public static async Task<DemoBackends> StartAsync()
    {
        var http = Build(HttpProtocols.Http1);
        http.UseWebSockets();
        http.Map("/stream", StreamAsync);
        http.Map("/ws", EchoAsync);
        http.MapFallback(DescribeAsync);
        var grpc = Build(HttpProtocols.Http2, services => services.AddGrpc());
        grpc.MapGrpcService<GreeterService>();
        await http.StartAsync();
        try
        {
            await grpc.StartAsync();
        }
        catch
        {
            await http.DisposeAsync();
            throw;
        }
        return new DemoBackends(http, grpc);
    }

    public async ValueTask DisposeAsync()
    {
        await _http.DisposeAsync();
        await _grpc.DisposeAsync();
    }

    private static WebApplication Build(HttpProtocols protocols, Action<IServiceCollection>? configure = null)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(options =>
        {
            options.AddServerHeader = false;
            options.Limits.MaxRequestBodySize = null;
            options.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = protocols);
        });
        builder.Services.AddRoutingCore();
        configure?.Invoke(builder.Services);
        return builder.Build();
    }

    private static int PortOf(WebApplication app) => new Uri(app.Urls.First()).Port;

    private static async Task DescribeAsync(HttpContext context)
    {
        var request = context.Request;
        var body = 0L;
        var buffer = new byte[16384];
        for (int read; (read = await request.Body.ReadAsync(buffer, context.RequestAborted)) > 0;)
        {
            body += read;
        }
        context.Response.ContentType = "application/json";
        await using var json = new Utf8JsonWriter(
            context.Response.BodyWriter, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteString("backend", "demo_http");
        json.WriteString("method", request.Method);
        json.WriteString("host", request.Host.Value);
        json.WriteString("path", request.Path.Value);
        json.WriteString("query", request.QueryString.Value);
        json.WriteString("protocol", request.Protocol);
        json.WriteNumber("body_bytes", body);
        json.WriteStartObject("headers");
        foreach (var (name, value) in request.Headers)
        {
            json.WriteString(name, value.ToString());
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static async Task StreamAsync(HttpContext context)
    {
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-cache";
        for (var i = 1; i <= 5; i++)
        {
            await context.Response.WriteAsync($"event: tick\ndata: {i}\n\n", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await Task.Delay(TimeSpan.FromMilliseconds(300), context.RequestAborted);
        }
    }

    private static async Task EchoAsync(HttpContext context)
    {
        if (!context.WebSockets.IsWebSocketRequest)
        {
            context.Response.StatusCode = StatusCodes.Status426UpgradeRequired;
            context.Response.Headers.Upgrade = "websocket";
            return;
        }
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        var buffer = new byte[16384];
        while (true)
        {
            var received = await socket.ReceiveAsync(buffer.AsMemory(), context.RequestAborted);
            if (received.MessageType == WebSocketMessageType.Close)
            {
                await socket.CloseAsync(
                    socket.CloseStatus ?? WebSocketCloseStatus.NormalClosure, null, context.RequestAborted);
                return;
            }
            await socket.SendAsync(
                buffer.AsMemory(0, received.Count),
                received.MessageType,
                received.EndOfMessage,
                context.RequestAborted);
        }
    }

    private sealed class GreeterService : Greeter.GreeterBase
    {
        public override Task<GreetReply> Greet(GreetRequest request, ServerCallContext context) =>
            Task.FromResult(
                new GreetReply { Message = $"Hello {(request.Name.Length == 0 ? "there" : request.Name)}" });

        public override async Task Count(
            CountRequest request, IServerStreamWriter<CountReply> responseStream, ServerCallContext context)
        {
            for (uint i = 1; i <= Math.Min(request.To, 1000); i++)
            {
                await responseStream.WriteAsync(new CountReply { Number = i }, context.CancellationToken);
            }
        }
    }
}
