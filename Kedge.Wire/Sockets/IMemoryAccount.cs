namespace Kedge.Wire.Sockets;

/// <summary>Counts the bytes that are held on behalf of a caller, so that they can be bounded.</summary>
public interface IMemoryAccount
{
    /// <summary>
    /// Adds bytes to the count, or subtracts them when negative. Called from any thread, which may hold locks.
    /// </summary>
    void Add(long bytes);
}
