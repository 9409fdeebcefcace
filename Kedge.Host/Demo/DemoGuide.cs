using Kedge.Host.Flags;

namespace Kedge.Host.Demo;

/// <summary>What the demo tells its user to try.</summary>
public static class DemoGuide
{
    public static void Write(TextWriter output, ListenerOptions listeners, DemoBackends backends)
    {
        output.WriteLine($"kedge demo: HTTPS on {listeners.HttpTlsPort}, gRPC on {listeners.GrpcTlsPort}, debug on {listeners.HttpPort} {backends}");
    }
}
