using Kedge.Host.Flags;

namespace Kedge.Host.Demo;

/// <summary>The commands that the demo suggests. Each works when pasted into a shell.</summary>
public static class DemoGuide
{
    public static void Write(TextWriter output, ListenerOptions listeners)
    {
        var https = $"https://localhost:{listeners.HttpTlsPort}";
        var grpc = $"https://localhost:{listeners.GrpcTlsPort}";
        var debug = $"http://localhost:{listeners.HttpPort}";
        // A gRPC message consists of a zero byte, the length in four bytes, and the protobuf, here a five-byte field 1.
        // `tail` removes the seven bytes before the text of the response.
        output.WriteLine($"""

            kedge is running in front of two small backends. In another terminal, try:

            # HTTP/2 through a route
            curl -k {https}/hello

            # the same over HTTP/1.1
            curl -k --http1.1 {https}/hello

            # server-sent events, as they arrive
            curl -k -N {https}/stream

            # a gRPC call through a route, written by hand
            printf '\000\000\000\000\007\012\005Kedge' | curl -sk --data-binary @- -H 'content-type: application/grpc' -H 'te: trailers' {grpc}/kedge.demo.Greeter/Greet | tail -c +8; echo

            # no route has this host, but an ad-hoc rule does: the name becomes web.localhost
            curl -k -H 'Host: web.adhoc.demo' {https}/hello

            # no rule has this host: kedge replies with the reason
            curl -k -i -H 'Host: nobody.example' {https}/hello

            # the health of kedge itself
            curl {debug}/_healthz

            Press Ctrl-C to stop.

            """);
    }
}
