using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Kedge.Bench;

/// <summary>Measures how long a proxy takes to its first response over TLS, and what idle connections cost.</summary>
internal static class Idle
{
    private const int Connections = 500;

    // Until most garbage of the start and of the handshakes is gone.
    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(5);

    private static readonly byte[] Request = "GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray();

    public static Task<int> MainAsync(RunOptions options) =>
        Site.WithBackendsAsync(async site =>
        {
            Console.WriteLine("| proxy | start s | idle MB | KB for each idle connection |");
            Console.WriteLine("| --- | ---: | ---: | ---: |");
            foreach (var name in options.Proxies)
            {
                await MeasureAsync(name, options, site);
            }

            return 0;
        });

    private static async Task MeasureAsync(string name, RunOptions options, Site site)
    {
        var starts = new List<double>();
        for (var start = 0; start < options.Rounds; start++)
        {
            var clock = Stopwatch.StartNew();
            if (await Proxy.StartAsync(name, options, site) is not { } started)
            {
                Console.Error.WriteLine($"{name} is not installed; skipping it");
                return;
            }
            await using (started)
            {
                await using var first = await ConnectAsync(started.TlsPort, site);
                starts.Add(clock.Elapsed.TotalSeconds);
            }
        }
        starts.Sort();
        await using var proxy = (await Proxy.StartAsync(name, options, site))!;
        var connections = new List<SslStream>
        {
            // Memory that the first request leaves for all later ones must not count as the connections'.
            await ConnectAsync(proxy.TlsPort, site),
        };
        await Task.Delay(Settle);
        var before = proxy.ResidentBytes;
        while (connections.Count <= Connections)
        {
            connections.Add(await ConnectAsync(proxy.TlsPort, site));
        }
        await Task.Delay(Settle);
        var each = (proxy.ResidentBytes - before) / 1024.0 / Connections;
        Console.WriteLine(FormattableString.Invariant(
            $"| {name} | {starts[starts.Count / 2]:F2} | {before / 1e6:F0} | {each:F0} |"));
        foreach (var connection in connections)
        {
            await connection.DisposeAsync();
        }
    }

    /// <summary>Opens a connection and reads one response.</summary>
    private static async Task<SslStream> ConnectAsync(int port, Site site)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port));
        using var known = X509CertificateLoader.LoadCertificateFromFile(site.Certificate);
        var stream = new SslStream(new NetworkStream(socket, ownsSocket: true));
        await stream.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "localhost",
            // No trusted CA issued the bench's own certificate.
            RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                certificate is not null && certificate.GetCertHashString() == known.GetCertHashString(),
        });
        await stream.WriteAsync(Request);
        var buffer = new byte[4096];
        var count = await stream.ReadAsync(buffer);
        return Encoding.Latin1.GetString(buffer, 0, count).StartsWith("HTTP/1.1 200", StringComparison.Ordinal)
            ? stream
            : throw new InvalidOperationException("the proxy does not answer 200");
    }
}
