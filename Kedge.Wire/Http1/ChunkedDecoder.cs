namespace Kedge.Wire.Http1;

/// <summary>
/// Decodes the chunked transfer coding (RFC 9112, 7.1) up to its last chunk; the trailer section follows. Pure: it
/// accepts the bytes in pieces of any size. Strict: sizes are 1 to 15 hexadecimal digits, extensions are tokens and
/// quoted strings without white space around them, lines end with CRLF.
/// </summary>
public struct ChunkedDecoder
{
    /// <summary>The limit for a line with a chunk size and its extensions, in bytes.</summary>
    public const int MaxSizeLine = 4096;

    private const int MaxDigits = 15;

    private State _state;
    private long _remaining;
    private int _line;

    private enum State : byte
    {
        FirstDigit,
        Digits,
        ExtensionStart,
        ExtensionName,
        ValueStart,
        Value,
        Quoted,
        QuotedPair,
        QuotedEnd,
        SizeLineFeed,
        Data,
        DataCarriageReturn,
        DataLineFeed,
        Ended,
        Malformed,
    }

    /// <summary>Whether the last chunk has been decoded, so the trailer section is next.</summary>
    public readonly bool HasEnded => _state == State.Ended;

    /// <summary>Decodes until one of the spans is used up or the last chunk has been read.</summary>
    /// <param name="output">May be the same memory as <paramref name="input"/>, at the same place or before it.</param>
    /// <param name="consumed">Bytes of the input that were decoded.</param>
    /// <param name="written">Bytes of content that were written.</param>
    /// <returns>False when the input is malformed.</returns>
    public bool TryDecode(ReadOnlySpan<byte> input, Span<byte> output, out int consumed, out int written)
    {
        consumed = written = 0;
        while (consumed < input.Length && _state < State.Ended)
        {
            if (_state == State.Data)
            {
                var count = (int)Math.Min(_remaining, Math.Min(input.Length - consumed, output.Length - written));
                if (count == 0)
                {
                    return true;
                }
                input.Slice(consumed, count).CopyTo(output[written..]);
                consumed += count;
                written += count;
                _remaining -= count;
                if (_remaining == 0)
                {
                    _state = State.DataCarriageReturn;
                }
                continue;
            }
            _state = ++_line > MaxSizeLine ? State.Malformed : Next(input[consumed]);
            if (_state == State.Malformed)
            {
                return false;
            }
            consumed++;
        }
        return _state != State.Malformed;
    }

    private State Next(byte value)
    {
        switch (_state)
        {
            case State.FirstDigit:
                return TryAddDigit(value) ? State.Digits : State.Malformed;
            case State.Digits:
                return value == '\r' ? State.SizeLineFeed
                    : value == ';' ? State.ExtensionStart
                    : _line <= MaxDigits && TryAddDigit(value) ? State.Digits
                    : State.Malformed;
            case State.ExtensionStart:
                return HttpCharacters.IsTokenByte(value) ? State.ExtensionName : State.Malformed;
            case State.ExtensionName:
                return value == '=' ? State.ValueStart : AfterExtension(value, State.ExtensionName);
            case State.ValueStart:
                return value == '"' ? State.Quoted : HttpCharacters.IsTokenByte(value) ? State.Value : State.Malformed;
            case State.Value:
                return AfterExtension(value, State.Value);
            case State.Quoted:
                return value == '"' ? State.QuotedEnd
                    : value == '\\' ? State.QuotedPair
                    : IsQuotable(value) ? State.Quoted
                    : State.Malformed;
            case State.QuotedPair:
                return IsQuotable(value) ? State.Quoted : State.Malformed;
            case State.QuotedEnd:
                return value == ';' ? State.ExtensionStart : value == '\r' ? State.SizeLineFeed : State.Malformed;
            case State.SizeLineFeed:
                if (value != '\n')
                {
                    return State.Malformed;
                }
                _line = 0;
                return _remaining == 0 ? State.Ended : State.Data;
            case State.DataCarriageReturn:
                return value == '\r' ? State.DataLineFeed : State.Malformed;
            default:
                _line = 0;
                return value == '\n' ? State.FirstDigit : State.Malformed;
        }
    }

    private bool TryAddDigit(byte value)
    {
        var digit = value switch
        {
            >= (byte)'0' and <= (byte)'9' => value - '0',
            >= (byte)'a' and <= (byte)'f' => value - 'a' + 10,
            >= (byte)'A' and <= (byte)'F' => value - 'A' + 10,
            _ => -1,
        };
        _remaining = 16 * _remaining + digit;
        return digit >= 0;
    }

    private static State AfterExtension(byte value, State inside) =>
        value == ';' ? State.ExtensionStart
        : value == '\r' ? State.SizeLineFeed
        : HttpCharacters.IsTokenByte(value) ? inside
        : State.Malformed;

    private static bool IsQuotable(byte value) => value is (byte)'\t' or (>= 0x20 and not 0x7f);
}
