namespace Kedge.Host.Resolvers;

/// <summary>A lookup without a result; the message says why.</summary>
/// <param name="message">Starts with the name.</param>
/// <param name="isAbsent">See <see cref="IsAbsent"/>.</param>
public sealed class DnsLookupException(string message, bool isAbsent = false) : Exception(message)
{
    /// <summary>
    /// Whether DNS has answered that the name does not exist or has no such record. Otherwise there was no usable
    /// answer.
    /// </summary>
    public bool IsAbsent => isAbsent;

    /// <summary>Whether DNS has answered that the service is not available at its name (RFC 2782).</summary>
    public bool IsServiceUnavailable { get; init; }
}
