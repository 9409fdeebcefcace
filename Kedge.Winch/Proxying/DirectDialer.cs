using System.Net;
using Kedge.Client.Connections;

namespace Kedge.Winch.Proxying;

/// <summary>Opens connections to hosts that are not mapped.</summary>
/// <param name="isOwn">Whether an address is a port of winch itself, which a request must not come back to.</param>
/// <param name="upstream">The upstream proxy; null = none.</param>
internal sealed class DirectDialer(Func<IPEndPoint, bool> isOwn, UpstreamProxy? upstream)
{
    public UpstreamProxy? Upstream => upstream;

    /// <summary>Opens a connection to a host, through the upstream proxy if it serves the host.</summary>
    public Task<Stream> ConnectAsync(string host, int port, CancellationToken cancel) =>
        GuardAsync(host, port, async () =>
            upstream is not null && upstream.Serves(host, port)
                ? await upstream.ConnectAsync(host, port, Allows, cancel)
                : await Dialer.ConnectAsync(host, port, Allows, cancel));

    /// <summary>Opens a connection to exactly this host.</summary>
    public Task<Stream> DialAsync(string host, int port, CancellationToken cancel) =>
        GuardAsync(host, port, async () => await Dialer.ConnectAsync(host, port, Allows, cancel));

    private bool Allows(IPEndPoint address) => !isOwn(address);

    private static async Task<Stream> GuardAsync(string host, int port, Func<Task<Stream>> connect)
    {
        try
        {
            return await connect();
        }
        catch (RejectedAddressException)
        {
            throw new RejectedException($"{host}:{port}");
        }
    }
}

/// <summary>Sends http requests to the upstream proxy unchanged, in absolute form.</summary>
internal sealed class UpstreamWebProxy(UpstreamProxy upstream) : IWebProxy
{
    // The credentials are added to the request, because a body cannot be sent again after a challenge.
    public ICredentials? Credentials { get; set; }

    public Uri? GetProxy(Uri destination) => IsBypassed(destination) ? null : upstream.Address;

    public bool IsBypassed(Uri host) =>
        host.Scheme != Uri.UriSchemeHttp || !upstream.Serves(host.IdnHost, host.Port);
}
