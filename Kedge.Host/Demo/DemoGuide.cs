using System.Net;
using Kedge.Host.Flags;

namespace Kedge.Host.Demo;

/// <summary>The commands that the demo suggests. Each works when pasted into a shell.</summary>
public static class DemoGuide
{
    /// <summary>The host in the commands, with brackets around IPv6.</summary>
    /// <param name="address">The address that the listeners bind to.</param>
    public static string HostOf(IPAddress address) =>
        address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any) || address.Equals(IPAddress.Loopback)
            ? "localhost"
        : address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? $"[{address}]"
        : address.ToString();

    /// <summary>Writes the commands for the listeners that are open.</summary>
    public static void Write(TextWriter output, ListenerOptions listeners)
    {
        var host = HostOf(listeners.BindAddress);
        output.WriteLine();
        output.WriteLine("kedge is running in front of two small backends. In another terminal, try:");
        output.WriteLine();
        if (listeners.HttpTlsPort != 0)
        {
            WriteHttp(output, $"https://{host}:{listeners.HttpTlsPort}");
        }
        if (listeners.GrpcTlsPort != 0)
        {
            WriteGrpc(output, $"https://{host}:{listeners.GrpcTlsPort}");
        }
        if (listeners.HttpPort != 0)
        {
            output.WriteLine($"""
                # the health of kedge itself
                curl http://{host}:{listeners.HttpPort}/_healthz

                """);
        }
        output.WriteLine("Press Ctrl-C to stop.");
        output.WriteLine();
    }

    private static void WriteHttp(TextWriter output, string https) => output.WriteLine($"""
        # HTTP/2 through a route
        curl -k {https}/hello

        # the same over HTTP/1.1
        curl -k --http1.1 {https}/hello

        # server-sent events, as they arrive
        curl -k -N {https}/stream

        # no route has this host, but an ad-hoc rule does: the name becomes web.localhost
        curl -k -H 'Host: web.adhoc.demo' {https}/hello

        # no rule has this host: kedge replies with the reason
        curl -k -i -H 'Host: nobody.example' {https}/hello

        """);

    // A gRPC message consists of a zero byte, the length in four bytes, and the protobuf, here a five-byte field 1.
    // `tail` removes the seven bytes before the text of the response.
    private static void WriteGrpc(TextWriter output, string grpc) => output.WriteLine($"""
        # a gRPC call through a route, written by hand
        printf '\000\000\000\000\007\012\005Kedge' | curl -sk --data-binary @- -H 'content-type: application/grpc' -H 'te: trailers' {grpc}/kedge.demo.Greeter/Greet | tail -c +8; echo

        """);
}
