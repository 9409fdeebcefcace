using System.Globalization;
using System.Text;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http1;

/// <summary>
/// Encodes the head of a request, and trailer sections. Pure. Rejects anything that the endpoint would misread: with a
/// line end in a value, a caller could inject a field or a request.
/// </summary>
public static class RequestHeadEncoder
{
    /// <summary>Appends the head.</summary>
    /// <exception cref="UpstreamException">
    /// A part contains characters that it must not contain (<see cref="FailureKind.InvalidRequest"/>).
    /// </exception>
    public static void Encode(UpstreamRequest request, OutputBuffer output)
    {
        if (!HttpCharacters.IsToken(request.Method)
            || !HttpCharacters.IsTarget(request.Target)
            || !HttpCharacters.IsFieldValue(request.Authority))
        {
            throw Invalid("the method, the target or the authority");
        }
        output.Write(request.Method);
        output.Write(" "u8);
        output.Write(request.Target);
        output.Write(" HTTP/1.1\r\nHost: "u8);
        output.Write(request.Authority);
        output.Write("\r\n"u8);
        Write(request.Fields, output);
        if (request.Content is not null && request.ContentLength is null)
        {
            output.Write("Transfer-Encoding: chunked\r\n\r\n"u8);
        }
        else if (request.ContentLength is { } length)
        {
            output.Write("Content-Length: "u8);
            output.Write(length.ToString(CultureInfo.InvariantCulture));
            output.Write("\r\n\r\n"u8);
        }
        else if (SuggestsContent(request.Method))
        {
            output.Write("Content-Length: 0\r\n\r\n"u8);
        }
        else
        {
            output.Write("\r\n"u8);
        }
    }

    /// <summary>Appends the last chunk, the trailers and the end of the message.</summary>
    public static void EncodeEnd(FieldList? trailers, OutputBuffer output)
    {
        output.Write("0\r\n"u8);
        if (trailers is not null)
        {
            Write(trailers, output);
        }
        output.Write("\r\n"u8);
    }

    /// <summary>
    /// RFC 9110, 8.6: where the method expects content, its absence is stated, so that the endpoint does not wait for
    /// it.
    /// </summary>
    private static bool SuggestsContent(string method) =>
        method is not ("GET" or "HEAD" or "DELETE" or "OPTIONS" or "TRACE" or "CONNECT");

    private static void Write(FieldList fields, OutputBuffer output)
    {
        foreach (ref readonly var field in fields.AsSpan())
        {
            if (!HttpCharacters.IsToken(field.Name) || !HttpCharacters.IsFieldValue(field.Value))
            {
                throw Invalid("a header field");
            }
            output.Write(field.Name);
            output.Write(": "u8);
            output.Write(field.Value);
            output.Write("\r\n"u8);
        }
    }

    private static UpstreamException Invalid(string what) => new(
        FailureKind.InvalidRequest, SentState.NothingSent, $"{what} of the request contains invalid characters");
}

/// <summary>Collects bytes to send in one piece.</summary>
/// <param name="capacity">The initial capacity, in bytes. It grows as bytes are written, and shrinks with the next
/// <see cref="Clear"/>.</param>
public sealed class OutputBuffer(int capacity)
{
    private byte[] _bytes = new byte[capacity];
    private int _count;

    public int Count => _count;

    /// <summary>How many bytes fit without growing.</summary>
    public int Free => _bytes.Length - _count;

    public ReadOnlyMemory<byte> Memory => _bytes.AsMemory(0, _count);

    public void Write(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        _count += bytes.Length;
    }

    /// <summary>Writes one byte for each character, which must be Latin-1.</summary>
    public void Write(string text)
    {
        Encoding.Latin1.GetBytes(text, Reserve(text.Length));
        _count += text.Length;
    }

    /// <summary>Writes the size line of a chunk.</summary>
    public void WriteChunkSize(int size)
    {
        size.TryFormat(Reserve(8), out var written, "X", CultureInfo.InvariantCulture);
        _count += written;
        Write("\r\n"u8);
    }

    public void Clear()
    {
        _count = 0;
        if (_bytes.Length > 4 * capacity)
        {
            _bytes = new byte[capacity];
        }
    }

    private Span<byte> Reserve(int count)
    {
        if (_bytes.Length - _count < count)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _count + count));
        }
        return _bytes.AsSpan(_count);
    }
}
