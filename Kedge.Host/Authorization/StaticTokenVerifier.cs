using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>Accepts one token (<c>unsafe_bearer_token_proxy_auth</c>).</summary>
public sealed class StaticTokenVerifier(string expected)
{
    private static readonly TokenState Wrong = TokenState.NewBadToken("the token is wrong");
    private readonly byte[] _expectedHash = Hash(expected);

    /// <summary>Compares hashes in constant time, so that timing reveals nothing about the expected token.</summary>
    public TokenState Verify(ReadOnlySpan<char> token)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(MemoryMarshal.AsBytes(token), hash);
        return CryptographicOperations.FixedTimeEquals(hash, _expectedHash) ? TokenState.StaticToken : Wrong;
    }

    private static byte[] Hash(string token) => SHA256.HashData(MemoryMarshal.AsBytes(token.AsSpan()));
}
