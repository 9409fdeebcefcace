using System.Security.Cryptography;

namespace Kedge.Host.Http;

/// <summary>Makes and checks the values of <c>X-Kedge-Request-ID</c>.</summary>
internal static class RequestId
{
    private const int MaxLength = 128;

    // A random start for each process; a counter is enough to tell its requests apart. Not a secret.
    private static readonly ulong Process = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));
    private static ulong _count;

    /// <summary>The caller's, when it is 1 to 128 visible ASCII characters; else a new one.</summary>
    public static string KeepOrMake(string? fromCaller) =>
        fromCaller is { Length: > 0 and <= MaxLength } && !fromCaller.AsSpan().ContainsAnyExceptInRange('!', '~')
            ? fromCaller
            : Make();

    private static string Make() =>
        string.Create(32, Interlocked.Increment(ref _count), static (span, count) =>
        {
            Process.TryFormat(span, out _, "x16");
            count.TryFormat(span[16..], out _, "x16");
        });
}
