namespace Kedge.Wire.Transport;

/// <summary>A feature of connections that an event loop serves.</summary>
public interface IEventLoopFeature
{
    /// <summary>
    /// Whether those who wait for the connection continue on a pool thread; true at first. False: on the thread of the
    /// loop, where nothing may block, and where long work holds up other connections.
    /// </summary>
    bool ContinuesOnPool { get; set; }
}

/// <summary>What the system knows of the TCP connection, where the server has no socket of the platform.</summary>
public interface ITcpInfoFeature
{
    /// <summary>Copies Linux's struct tcp_info, as far as there is room and the system knows it.</summary>
    /// <returns>How many bytes; 0 = nothing.</returns>
    int CopyTcpInfo(Span<byte> info);
}
