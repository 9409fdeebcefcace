namespace Kedge.Wire.Transport;

/// <summary>A feature of connections that an event loop serves.</summary>
public interface IEventLoopFeature
{
    /// <summary>
    /// Whether code that awaits the connection continues on a pool thread; initially true. False = on the loop's
    /// thread, where nothing may block, and where long work holds up other connections.
    /// </summary>
    bool ContinuesOnPool { get; set; }
}

/// <summary>What the system knows about the TCP connection, where the server has no platform socket to ask.</summary>
public interface ITcpInfoFeature
{
    /// <summary>Copies as much of Linux's struct tcp_info as fits and the system provides.</summary>
    /// <returns>How many bytes were copied; 0 = none.</returns>
    int CopyTcpInfo(Span<byte> info);
}
