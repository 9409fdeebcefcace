using System.Security.Cryptography;

namespace Kedge.Host.Http;

/// <summary>Creates and validates the values of <c>X-Kedge-Request-ID</c>.</summary>
internal static class RequestId
{
    private const int MaxLength = 128;

    // Random for each process, followed by a counter. Unique, but not a secret.
    private static readonly ulong ProcessId = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));
    private static ulong _count;

    /// <summary>The caller's value if it is 1 to 128 visible ASCII characters; otherwise, a new one.</summary>
    public static string KeepOrCreate(string? fromCaller) =>
        fromCaller is { Length: > 0 and <= MaxLength } && !fromCaller.AsSpan().ContainsAnyExceptInRange('!', '~')
            ? fromCaller
            : Create();

    private static string Create() =>
        string.Create(32, Interlocked.Increment(ref _count), static (span, count) =>
        {
            ProcessId.TryFormat(span, out _, "x16");
            count.TryFormat(span[16..], out _, "x16");
        });
}
