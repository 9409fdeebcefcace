using Kedge.Host.Flags;

namespace Kedge.Host.Demo;

/// <summary>What the demo tells its user to try. Each command works when it is pasted into a shell.</summary>
public static class DemoGuide
{
    public static void Write(TextWriter output, ListenerOptions listeners)
    {
        var https = $"https://localhost:{listeners.HttpTlsPort}";
        var grpc = $"https://localhost:{listeners.GrpcTlsPort}";
        var debug = $"http://localhost:{listeners.HttpPort}";
        // A gRPC message is a zero byte, its length in four bytes, and the protobuf: here field 1, five bytes long. The
        // answer's own seven bytes of that kind are cut off, so that the text is left.
        output.WriteLine($"""

            kedge runs in front of two small backends. Try, in another terminal:

            # HTTP/2 through a route
            curl -k {https}/hello

            # the same in HTTP/1.1
            curl -k --http1.1 {https}/hello

            # server-sent events, as they come
            curl -k -N {https}/stream

            # gRPC through a route, by hand
            printf '\000\000\000\000\007\012\005Kedge' | curl -sk --data-binary @- -H 'content-type: application/grpc' -H 'te: trailers' {grpc}/kedge.demo.Greeter/Greet | tail -c +8; echo

            # no route has this host, an ad-hoc rule does: it becomes web.localhost
            curl -k -H 'Host: web.adhoc.demo' {https}/hello

            # nothing leads there: kedge says why
            curl -k -i -H 'Host: nobody.example' {https}/hello

            # the server's own health
            curl {debug}/_healthz

            Ctrl-C ends it.

            """);
    }
}
