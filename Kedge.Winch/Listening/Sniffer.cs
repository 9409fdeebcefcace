using System.Buffers;
using System.IO.Pipelines;

namespace Kedge.Winch.Listening;

/// <summary>The protocol that the first bytes of a connection indicate.</summary>
internal enum FirstBytes
{
    /// <summary>No bytes came: the connection has ended, or the time limit has passed.</summary>
    None,
    Http1,
    Connect,
    Http2,
    Tls,
    Other,
}

/// <summary>Looks at the first bytes of a connection without consuming them.</summary>
internal static class Sniffer
{
    private const byte TlsHandshake = 0x16;

    // RFC 9113, 3.4.
    private static ReadOnlySpan<byte> Preface => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;

    private static ReadOnlySpan<byte> ConnectMethod => "CONNECT "u8;

    /// <param name="input">The input of the connection.</param>
    /// <param name="timeout">The time limit for the first bytes.</param>
    public static async ValueTask<FirstBytes> LookAsync(PipeReader input, TimeSpan timeout)
    {
        using var limit = new CancellationTokenSource(timeout);
        try
        {
            while (true)
            {
                var read = await input.ReadAsync(limit.Token);
                var start = read.Buffer.Start;
                if (Classify(read.Buffer) is { } found)
                {
                    input.AdvanceTo(start, start);
                    return found;
                }
                if (read.IsCompleted)
                {
                    input.AdvanceTo(start, start);
                    return read.Buffer.IsEmpty ? FirstBytes.None : FirstBytes.Other;
                }
                input.AdvanceTo(start, read.Buffer.End);
            }
        }
        catch (OperationCanceledException)
        {
            return FirstBytes.None;
        }
    }

    /// <summary>Null = more bytes are needed.</summary>
    private static FirstBytes? Classify(ReadOnlySequence<byte> buffer)
    {
        Span<byte> first = stackalloc byte[24];
        first = first[..(int)Math.Min(first.Length, buffer.Length)];
        buffer.Slice(0, first.Length).CopyTo(first);
        if (first.IsEmpty)
        {
            return null;
        }
        if (first[0] == TlsHandshake)
        {
            return FirstBytes.Tls;
        }
        if (Preface.StartsWith(first))
        {
            return first.Length == Preface.Length ? FirstBytes.Http2 : null;
        }
        if (first.Length >= ConnectMethod.Length ? first.StartsWith(ConnectMethod) : ConnectMethod.StartsWith(first))
        {
            return first.Length >= ConnectMethod.Length ? FirstBytes.Connect : null;
        }
        return char.IsAsciiLetter((char)first[0]) ? FirstBytes.Http1 : FirstBytes.Other;
    }
}
