using Kedge.Host.Http;

namespace Kedge.Host.Routing;

/// <summary>What to do with a request: reply, forward it, or open a tunnel.</summary>
internal readonly struct RoutingResult
{
    private RoutingResult(LocalReply? reply, RouteAnswer? answer, in Destination destination, bool isTunnel)
    {
        Reply = reply;
        Answer = answer;
        Destination = destination;
        IsTunnel = isTunnel;
    }

    /// <summary>
    /// The reply of kedge itself; null when the request is answered by its route, forwarded or tunneled.
    /// </summary>
    public LocalReply? Reply { get; }

    /// <summary>The route's own answer; null when the request is handled in another way.</summary>
    public RouteAnswer? Answer { get; }

    /// <summary>
    /// Where to forward the request or open the tunnel. Set only when there is neither a <see cref="Reply"/> nor an
    /// <see cref="Answer"/>.
    /// </summary>
    public Destination Destination { get; }

    /// <summary>Whether to open a tunnel to <see cref="Destination"/>.</summary>
    public bool IsTunnel { get; }

    public static implicit operator RoutingResult(LocalReply reply) => new(reply, null, default, isTunnel: false);

    public static implicit operator RoutingResult(RouteAnswer answer) => new(null, answer, default, isTunnel: false);

    public static RoutingResult Forward(in Destination destination) => new(null, null, destination, isTunnel: false);

    public static RoutingResult Tunnel(in Destination destination) => new(null, null, destination, isTunnel: true);
}
