using Kedge.Wire.Sockets;

namespace Kedge.Host.Http;

/// <summary>A caller's connection, as a feature of its requests: what they hold together is bounded.</summary>
internal interface ICallerConnection : IMemoryAccount
{
    /// <summary>A request has arrived.</summary>
    /// <returns>How many are in flight now, this one included.</returns>
    int RequestStarted();

    /// <summary>Charges the connection for the headers of a request, if its budget allows that.</summary>
    /// <param name="bytes">What the headers occupy, decoded.</param>
    bool TryHold(long bytes);

    /// <summary>The request has ended.</summary>
    /// <param name="held">What <see cref="TryHold"/> charged for it; 0 when it was not asked.</param>
    void RequestEnded(long held);
}
