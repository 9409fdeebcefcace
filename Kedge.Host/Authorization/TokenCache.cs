using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>
/// Remembers the permissions of valid tokens until they expire, by the hash of the token; the tokens themselves are not
/// kept. Bounded: when the young one of its two generations is full, the old one is dropped.
/// </summary>
public sealed class TokenCache(TimeProvider time, int capacity = TokenCache.DefaultCapacity)
{
    public const int DefaultCapacity = 10_000;

    private readonly int _generationSize = Math.Max(1, capacity / 2);
    private Generations _generations = new(new(), new());

    /// <summary>Null when the token is not known or has expired.</summary>
    public TokenState? Find(TokenHash hash)
    {
        var current = Volatile.Read(ref _generations);
        if (!current.Young.TryGetValue(hash, out var entry))
        {
            if (!current.Old.TryGetValue(hash, out entry))
            {
                return null;
            }
            Add(hash, entry);
        }
        return time.GetUtcNow() < entry.Expires ? entry.State : null;
    }

    public void Add(TokenHash hash, TokenState state, DateTimeOffset expires) => Add(hash, new(state, expires));

    private void Add(TokenHash hash, Entry entry)
    {
        var current = Volatile.Read(ref _generations);
        // Count locks the whole dictionary, so it is read only on an addition.
        if (current.Young.Count >= _generationSize)
        {
            var next = new Generations(new(), current.Young);
            current = Interlocked.CompareExchange(ref _generations, next, current) == current
                ? next
                : Volatile.Read(ref _generations);
        }
        current.Young[hash] = entry;
    }

    private sealed record Entry(TokenState State, DateTimeOffset Expires);

    private sealed record Generations(
        ConcurrentDictionary<TokenHash, Entry> Young, ConcurrentDictionary<TokenHash, Entry> Old);
}

/// <summary>SHA-256 of a token.</summary>
public readonly record struct TokenHash(UInt128 High, UInt128 Low)
{
    public static TokenHash Of(ReadOnlySpan<char> token)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(MemoryMarshal.AsBytes(token), hash);
        return new(MemoryMarshal.Read<UInt128>(hash), MemoryMarshal.Read<UInt128>(hash[16..]));
    }
}
