using System.Net;
using System.Text;
using Kedge.Client.Domain;

namespace Kedge.Client.Connections;

/// <summary>Opens connections through an HTTP proxy, with CONNECT (RFC 9110, 9.3.6).</summary>
/// <param name="proxy">Its URL (http), optionally with a user name and a password.</param>
/// <param name="exempt">Hosts that are not reached through it.</param>
internal sealed class UpstreamProxy(Uri proxy, NoProxy exempt)
{
    private const int MaxHead = 16 * 1024;

    /// <summary>Host and port, without credentials.</summary>
    public Uri Address { get; } = new($"http://{proxy.IdnHost}:{proxy.Port}");

    /// <summary>The value of <c>Proxy-Authorization</c>; null = the URL has no credentials.</summary>
    public string? Authorization { get; } =
        proxy.UserInfo.Length == 0
            ? null
            : $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes(Uri.UnescapeDataString(proxy.UserInfo)))}";

    /// <summary>
    /// What is wrong with a proxy's URL, without the URL, which may contain a password; null = nothing. Text after the
    /// port is an error, because it is part of a password whose special characters are not escaped.
    /// </summary>
    public static string? Problem(Uri proxy) =>
        proxy.Scheme == Uri.UriSchemeHttp && proxy.PathAndQuery == "/" && proxy.Fragment.Length == 0
            ? null
            : "must be http://[user:password@]host:port, with special characters of the password as %XX";

    /// <summary>Whether a host is reached through the proxy.</summary>
    public bool Serves(string host, int port) =>
        Target.TryCreate(host, port, out var target) && !exempt.Exempts(target);

    /// <summary>Opens a connection to a host through the proxy.</summary>
    /// <param name="host">A name or an address; the proxy resolves it.</param>
    /// <param name="port">The port of the host.</param>
    /// <param name="allows">Whether a connection may be made to an address of the proxy; null = to all.</param>
    /// <param name="cancel">Ends the attempt.</param>
    /// <exception cref="IOException">The proxy does not respond, or refuses; the message contains no
    /// password.</exception>
    public async Task<Stream> ConnectAsync(
        string host, int port, Func<IPEndPoint, bool>? allows, CancellationToken cancel)
    {
        var name = $"{proxy.IdnHost}:{proxy.Port}";
        Stream stream;
        try
        {
            stream = await Dialer.ConnectAsync(proxy.IdnHost, proxy.Port, allows, cancel);
        }
        catch (System.Net.Sockets.SocketException e)
        {
            throw new IOException($"the proxy {name} cannot be reached: {e.Message}", e);
        }
        try
        {
            var credentials = Authorization is null ? "" : $"Proxy-Authorization: {Authorization}\r\n";
            var authority = host.Contains(':') && !host.StartsWith('[') ? $"[{host}]:{port}" : $"{host}:{port}";
            await stream.WriteAsync(
                Encoding.ASCII.GetBytes($"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n"),
                cancel);
            var head = await ReadHeadAsync(stream, cancel);
            if (head.Split(' ') is not ["HTTP/1.1" or "HTTP/1.0", ['2', _, _], ..])
            {
                throw new IOException($"the proxy {name} refuses the connection: {StatusLine(head)}");
            }
            return stream;
        }
        catch
        {
            await stream.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Reads up to the empty line, byte by byte: the bytes after it come from the host, and a handshake is short.
    /// </summary>
    private static async Task<string> ReadHeadAsync(Stream stream, CancellationToken cancel)
    {
        var head = new StringBuilder();
        var one = new byte[1];
        while (head.Length < MaxHead && await stream.ReadAsync(one, cancel) == 1)
        {
            head.Append((char)one[0]);
            if (one[0] == '\n' && head.Length >= 4 && head.ToString(head.Length - 4, 4) == "\r\n\r\n")
            {
                return head.ToString();
            }
        }
        throw new IOException(
            $"the proxy answers CONNECT with something other than HTTP: {StatusLine(head.ToString())}");
    }

    private static string StatusLine(string head)
    {
        var line = head.Split('\r', '\n')[0];
        return new string([.. line.Take(100).Select(c => c is >= ' ' and <= '~' ? c : '?')]);
    }
}
