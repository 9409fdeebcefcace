using System.Net;
using System.Text;
using Kedge.Client;
using Kedge.Client.Connections;

namespace Kedge.Winch.Proxying;

/// <summary>Sends a request along its journey: to its kedge, or directly to its target without credentials.</summary>
internal sealed class JourneyHandler : HttpMessageHandler
{
    private readonly KedgeHandler _kedges;
    private readonly HttpMessageInvoker _direct;

    /// <param name="kedges">For mapped hosts.</param>
    /// <param name="isOwn">Whether an address is a port of winch itself, which a request must not come back to.</param>
    public JourneyHandler(KedgeHandler kedges, Func<IPEndPoint, bool> isOwn)
    {
        _kedges = kedges;
        _direct = new(new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = null,
            ConnectTimeout = TimeSpan.FromSeconds(5),
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
            RequestHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ResponseHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
            ConnectCallback = async (context, cancel) =>
                await DialAsync(context.DnsEndPoint.Host, context.DnsEndPoint.Port, isOwn, cancel),
        });
    }

    /// <summary>A connection to a target that is not mapped.</summary>
    public static async Task<System.Net.Sockets.NetworkStream> DialAsync(
        string host, int port, Func<IPEndPoint, bool> isOwn, CancellationToken cancel)
    {
        try
        {
            return await Dialer.ConnectAsync(host, port, address => !isOwn(address), cancel);
        }
        catch (RejectedAddressException)
        {
            throw new RejectedException($"{host}:{port}");
        }
    }

    protected override Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request,
        CancellationToken cancellationToken)
    {
        request.Options.TryGetValue(Journey.Option, out var journey);
        if (journey!.Route is { } route)
        {
            return _kedges.SendAsync(request, route, journey.Authority, journey.IsGrpc, cancellationToken);
        }
        // HTTP/1.1 is what a target in clear text speaks.
        request.Version = HttpVersion.Version11;
        request.VersionPolicy = HttpVersionPolicy.RequestVersionOrLower;
        return _direct.SendAsync(request, cancellationToken);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _direct.Dispose();
            _kedges.Dispose();
        }
        base.Dispose(disposing);
    }
}
