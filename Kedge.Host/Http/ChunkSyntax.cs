using System.Buffers;

namespace Kedge.Host.Http;

/// <summary>
/// Checks the framing of a chunked body (RFC 9112, 7.1) as it passes through, more strictly than the server does: the
/// size is 1 to 15 hexadecimal digits, and an extension has a name, which is a token, and a value that is a token or a
/// quoted string. A hop that reads a malformed line differently would see a different body.
/// </summary>
internal sealed class ChunkSyntax
{
    // A size with this many digits fits into 60 bits.
    private const int MaxSizeDigits = 15;

    private static readonly SearchValues<byte> Token = SearchValues.Create(
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    private Part _part;
    private long _size;
    // The octets of the chunk's line read so far, then those of its content still to come.
    private int _lineLength;
    private long _left;
    private int _digits;

    /// <summary>The longest line of a size and its extensions, in bytes.</summary>
    public const int MaxLineLength = 4096;

    private enum Part
    {
        None,
        Size,
        // Blanks after the size, or after an extension.
        End,
        NameStart,
        Name,
        AfterName,
        ValueStart,
        Value,
        Quoted,
        Escaped,
        LineFeed,
        Content,
        ContentReturn,
        ContentLineFeed,
    }

    /// <summary>Whether the last chunk has ended. Trailers follow, which are not checked.</summary>
    public bool IsComplete => _part == Part.None;

    /// <summary>Starts a chunked body: the next byte is its first.</summary>
    public void Begin() => StartLine();

    /// <summary>Whether the next bytes are valid. All bytes after the last chunk are valid: trailers follow.</summary>
    public bool Accepts(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0 && _part != Part.None)
        {
            if (_part == Part.Content)
            {
                var skipped = (int)Math.Min(_left, bytes.Length);
                _left -= skipped;
                bytes = bytes[skipped..];
                if (_left == 0)
                {
                    _part = Part.ContentReturn;
                }
            }
            else if (Accepts(bytes[0]))
            {
                bytes = bytes[1..];
            }
            else
            {
                return false;
            }
        }
        return true;
    }

    private bool Accepts(byte octet)
    {
        if (++_lineLength > MaxLineLength)
        {
            return false;
        }
        switch (_part)
        {
            case Part.Size:
                if (char.IsAsciiHexDigit((char)octet))
                {
                    _size = (_size << 4) + (octet <= '9' ? octet - '0' : (octet | 0x20) - 'a' + 10);
                    return ++_digits <= MaxSizeDigits;
                }
                return _digits > 0 && Ends(octet);
            case Part.End:
                return Ends(octet);
            case Part.NameStart:
                return IsBlank(octet) || Continues(octet, Part.Name);
            case Part.Name:
                return Token.Contains(octet) || EndsName(octet);
            case Part.AfterName:
                return EndsName(octet);
            case Part.ValueStart:
                if (octet == '"')
                {
                    _part = Part.Quoted;
                    return true;
                }
                return IsBlank(octet) || Continues(octet, Part.Value);
            case Part.Value:
                return Token.Contains(octet) || Ends(octet);
            case Part.Quoted:
                if (octet is (byte)'"' or (byte)'\\')
                {
                    _part = octet == '"' ? Part.End : Part.Escaped;
                    return true;
                }
                return IsText(octet);
            case Part.Escaped:
                _part = Part.Quoted;
                return IsText(octet);
            case Part.LineFeed:
                _left = _size;
                // Trailers follow the last chunk.
                _part = _size == 0 ? Part.None : Part.Content;
                return octet == '\n';
            case Part.ContentReturn:
                _part = Part.ContentLineFeed;
                return octet == '\r';
            default:
                StartLine();
                return octet == '\n';
        }
    }

    private void StartLine()
    {
        _part = Part.Size;
        _size = 0;
        _digits = 0;
        _lineLength = 0;
    }

    private bool Continues(byte octet, Part part)
    {
        _part = part;
        return Token.Contains(octet);
    }

    private bool EndsName(byte octet)
    {
        if (octet == '=')
        {
            _part = Part.ValueStart;
            return true;
        }
        var ends = Ends(octet);
        if (_part == Part.End)
        {
            _part = Part.AfterName;
        }
        return ends;
    }

    /// <summary>
    /// Whether the octet may follow a size or an extension: a blank, another extension, the end of the line.
    /// </summary>
    private bool Ends(byte octet)
    {
        _part = octet switch
        {
            (byte)';' => Part.NameStart,
            (byte)'\r' => Part.LineFeed,
            _ => Part.End,
        };
        return _part != Part.End || IsBlank(octet);
    }

    private static bool IsBlank(byte octet) => octet is (byte)' ' or (byte)'\t';

    private static bool IsText(byte octet) => octet is (>= 0x20 and not 0x7F) or (byte)'\t';
}
