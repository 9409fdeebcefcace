using Kedge.Wire.Http2.Hpack;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>The header and trailer sections of responses: what makes them malformed (RFC 9113, section 8).</summary>
internal static class ResponseHead
{
    /// <summary>Reads a header section.</summary>
    /// <param name="status">The status code, 100 to 999.</param>
    /// <param name="contentLength">The value of Content-Length; -1 = there is none.</param>
    /// <returns>What is wrong with it; null when it is sound.</returns>
    public static string? Read(ReadOnlySpan<HeaderField> fields, out int status, out long contentLength)
    {
        status = 0;
        contentLength = -1;
        for (var i = 0; i < fields.Length; i++)
        {
            ref readonly var field = ref fields[i];
            switch (field.Name.Kind)
            {
                case HeaderKind.Status when i == 0:
                    if (!TryReadStatus(field.Value, out status))
                    {
                        return "its status is not a number of three digits";
                    }
                    break;
                case HeaderKind.Regular when field.IsSound:
                    break;
                case HeaderKind.ContentLength when contentLength < 0 && TryReadLength(field.Value, out contentLength):
                    break;
                case HeaderKind.ContentLength:
                    return "its Content-Length is not one number";
                default:
                    return Refusal(field);
            }
        }
        return status == 0 ? "it has no status" : null;
    }

    /// <summary>Says what makes a trailer section malformed; null when it is sound.</summary>
    public static string? CheckTrailers(ReadOnlySpan<HeaderField> fields)
    {
        foreach (ref readonly var field in fields)
        {
            if (field.Name.Kind is not (HeaderKind.Regular or HeaderKind.ContentLength) || !field.IsSound)
            {
                return Refusal(field);
            }
        }
        return null;
    }

    /// <summary>The fields without pseudo-header fields.</summary>
    public static FieldList ToList(ReadOnlySpan<HeaderField> fields)
    {
        var list = new FieldList(fields.Length);
        foreach (ref readonly var field in fields)
        {
            if (field.Name.Kind != HeaderKind.Status)
            {
                list.Add(field.Name.Text, field.Value);
            }
        }
        return list;
    }

    /// <summary>The trailer fields without those that trailers must not contain (RFC 9110, section 6.5.1).</summary>
    public static FieldList? ToTrailers(ReadOnlySpan<HeaderField> fields)
    {
        FieldList? list = null;
        foreach (ref readonly var field in fields)
        {
            if (field.Name.Kind == HeaderKind.Regular)
            {
                (list ??= new FieldList()).Add(field.Name.Text, field.Value);
            }
        }
        return list;
    }

    private static string Refusal(in HeaderField field) => field.Name.Kind switch
    {
        HeaderKind.Status or HeaderKind.OtherPseudo => "a pseudo-header field is where it must not be",
        HeaderKind.ConnectionSpecific => $"it has the field {field.Name.Text}, which HTTP/2 does not have",
        HeaderKind.Malformed => "the name of a field is empty or not in lower case",
        _ => $"the value of the field {field.Name.Text} contains a control character, or begins or ends with "
            + "white space",
    };

    private static bool TryReadStatus(string text, out int status)
    {
        status = 0;
        if (text.Length != 3 || text[0] == '0')
        {
            return false;
        }
        foreach (var digit in text)
        {
            if (!char.IsAsciiDigit(digit))
            {
                return false;
            }
            status = (status * 10) + (digit - '0');
        }
        return true;
    }

    private static bool TryReadLength(string text, out long length)
    {
        length = -1;
        // 18 digits always fit.
        if (text.Length is 0 or > 18)
        {
            return false;
        }
        long sum = 0;
        foreach (var digit in text)
        {
            if (!char.IsAsciiDigit(digit))
            {
                return false;
            }
            sum = (sum * 10) + (digit - '0');
        }
        length = sum;
        return true;
    }
}
