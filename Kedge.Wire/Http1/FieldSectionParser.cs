using System.Text;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http1;

/// <summary>
/// Parses header and trailer sections (RFC 9112, 5) line by line, as strictly as the RFC: lines end with CRLF, names
/// are tokens directly followed by the colon, values contain no control characters, and no line is folded. Pure: it
/// keeps no bytes, and parses a line only once it is complete.
/// </summary>
/// <param name="maxBytes">The limit for the section, with its line ends.</param>
public sealed class FieldSectionParser(int maxBytes)
{
    private FieldList? _previous;
    private int _used;

    /// <summary>The fields so far.</summary>
    public FieldList Fields { get; private set; } = new();

    /// <summary>Why the section is malformed.</summary>
    public string? Error { get; private set; }

    /// <summary>Starts a section.</summary>
    /// <param name="used">Bytes that count towards the limit already.</param>
    /// <param name="previous">
    /// The fields of an earlier section of the same peer, whose strings are reused where they are equal.
    /// </param>
    public void Reset(int used = 0, FieldList? previous = null)
    {
        // The responses of a peer mostly have the same fields.
        Fields = new FieldList(previous?.Count ?? 0);
        Error = null;
        _used = used;
        _previous = previous;
    }

    /// <summary>Parses all complete lines.</summary>
    /// <param name="bytes">The received bytes that are not consumed yet.</param>
    /// <param name="consumed">How many of the bytes were parsed; pass the rest again, with more.</param>
    public ParseStatus Parse(ReadOnlySpan<byte> bytes, out int consumed)
    {
        consumed = 0;
        while (true)
        {
            var rest = bytes[consumed..];
            var end = rest.IndexOf((byte)'\n');
            if (end < 0)
            {
                return _used + rest.Length > maxBytes ? ParseStatus.TooLarge : ParseStatus.Incomplete;
            }
            if (_used + end >= maxBytes)
            {
                return ParseStatus.TooLarge;
            }
            if (end == 0 || rest[end - 1] != '\r')
            {
                return Malformed("a line ends without CR");
            }
            _used += end + 1;
            consumed += end + 1;
            if (end == 1)
            {
                return ParseStatus.Complete;
            }
            if (!TryAdd(rest[..(end - 1)]))
            {
                return ParseStatus.Malformed;
            }
        }
    }

    /// <summary>The text, one character for each byte; the earlier string when it is equal.</summary>
    internal static string Text(ReadOnlySpan<byte> bytes, string? earlier) =>
        earlier is not null && earlier.Length == bytes.Length && Ascii.Equals(bytes, earlier)
            ? earlier
            : Encoding.Latin1.GetString(bytes);

    private bool TryAdd(ReadOnlySpan<byte> line)
    {
        var colon = line.IndexOf((byte)':');
        if (colon < 0 || !HttpCharacters.IsToken(line[..colon]))
        {
            Malformed("a field name is not a token");
            return false;
        }
        var value = line[(colon + 1)..].Trim(" \t"u8);
        if (!HttpCharacters.IsFieldValue(value))
        {
            Malformed("a field value contains a control character");
            return false;
        }
        var index = Fields.Count;
        var earlier = _previous is { } previous && index < previous.Count ? previous[index] : default;
        Fields.Add(Text(line[..colon], earlier.Name), Text(value, earlier.Value));
        return true;
    }

    private ParseStatus Malformed(string error)
    {
        Error = error;
        return ParseStatus.Malformed;
    }
}
