using Kedge.Wire.Sockets;

namespace Kedge.Host.Http;

/// <summary>A caller's connection, as a feature of its requests. It bounds what they hold together.</summary>
internal interface ICallerConnection : IMemoryAccount
{
    /// <summary>A request has arrived.</summary>
    /// <returns>How many requests are in flight now, including this one.</returns>
    int RequestStarted();

    /// <summary>Charges the connection for the headers of a request, if its budget allows that.</summary>
    /// <param name="bytes">The size of the decoded headers.</param>
    bool TryHold(long bytes);

    /// <summary>The request has ended.</summary>
    /// <param name="held">What <see cref="TryHold"/> charged for it; 0 when it was not called.</param>
    void RequestEnded(long held);
}
