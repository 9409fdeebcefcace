namespace Kedge.Wire.Sockets;

/// <summary>Counts the bytes that are held for somebody, so that they can be bounded.</summary>
public interface IMemoryAccount
{
    /// <summary>So many more bytes are held, or fewer when negative. By any thread, which may hold locks.</summary>
    void Add(long bytes);
}
