using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http1;

/// <summary>
/// Parses the head of a response: the status line (RFC 9112, 4) and the header section. Pure, like
/// <see cref="FieldSectionParser"/>.
/// </summary>
/// <param name="maxBytes">The limit for the head as a whole.</param>
public sealed class ResponseHeadParser(int maxBytes)
{
    private readonly FieldSectionParser _fields = new(maxBytes);
    private FieldList? _previous;
    private bool _hasStatusLine;
    private string? _error;

    /// <summary>100 to 999.</summary>
    public int StatusCode { get; private set; }

    /// <summary>Null when it is empty.</summary>
    public string? ReasonPhrase { get; private set; }

    /// <summary>Whether the version is HTTP/1.0; otherwise it is HTTP/1.1.</summary>
    public bool IsHttp10 { get; private set; }

    public FieldList Fields => _fields.Fields;

    /// <summary>Why the head is malformed.</summary>
    public string? Error => _error ?? _fields.Error;

    /// <summary>Starts a head.</summary>
    public void Reset()
    {
        if (_hasStatusLine)
        {
            _previous = Fields;
        }
        _hasStatusLine = false;
        _error = null;
    }

    /// <summary>Parses all complete lines; see <see cref="FieldSectionParser.Parse"/>.</summary>
    public ParseStatus Parse(ReadOnlySpan<byte> bytes, out int consumed)
    {
        consumed = 0;
        if (!_hasStatusLine)
        {
            var end = bytes.IndexOf((byte)'\n');
            if (end < 0)
            {
                return bytes.Length > maxBytes ? ParseStatus.TooLarge : CheckStart(bytes);
            }
            if (end >= maxBytes)
            {
                return ParseStatus.TooLarge;
            }
            if (!TryParseStatusLine(bytes[..end]))
            {
                return ParseStatus.Malformed;
            }
            _hasStatusLine = true;
            consumed = end + 1;
            _fields.Reset(consumed, _previous);
        }
        var status = _fields.Parse(bytes[consumed..], out var parsed);
        consumed += parsed;
        return status;
    }

    /// <summary>Recognizes what is not HTTP, such as a greeting without a line end, by its first bytes.</summary>
    private ParseStatus CheckStart(ReadOnlySpan<byte> bytes)
    {
        var expected = "HTTP/1."u8;
        if (bytes.StartsWith(expected[..Math.Min(bytes.Length, expected.Length)]))
        {
            return ParseStatus.Incomplete;
        }
        _error = "it is not HTTP/1.1";
        return ParseStatus.Malformed;
    }

    private bool TryParseStatusLine(ReadOnlySpan<byte> line)
    {
        // HTTP/1.1 200 OK\r
        if (!line.StartsWith("HTTP/1."u8)
            || line.Length < 13
            || line[7] is not ((byte)'0' or (byte)'1')
            || line[8] != ' ')
        {
            _error = "it is not HTTP/1.1";
            return false;
        }
        if (line[^1] != '\r')
        {
            _error = "a line ends without CR";
            return false;
        }
        line = line[..^1];
        IsHttp10 = line[7] == '0';
        int hundreds = line[9] - '0', tens = line[10] - '0', ones = line[11] - '0';
        if (hundreds is < 1 or > 9 || tens is < 0 or > 9 || ones is < 0 or > 9 || (line.Length > 12 && line[12] != ' '))
        {
            _error = "the status is not a number of three digits";
            return false;
        }
        StatusCode = 100 * hundreds + 10 * tens + ones;
        var reason = line.Length > 13 ? line[13..] : default;
        if (!HttpCharacters.IsFieldValue(reason))
        {
            _error = "the reason phrase contains a control character";
            return false;
        }
        ReasonPhrase = reason.IsEmpty ? null : FieldSectionParser.Text(reason, ReasonPhrase);
        return true;
    }
}
