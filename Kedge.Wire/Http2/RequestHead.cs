using System.Buffers;
using System.Globalization;
using Kedge.Wire.Http2.Hpack;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>The header and trailer sections of requests (RFC 9113, section 8.3.1).</summary>
internal static class RequestHead
{
    private static readonly HeaderName Method = Common(":method");
    private static readonly HeaderName Scheme = Common(":scheme");
    private static readonly HeaderName Authority = Common(":authority");
    private static readonly HeaderName Path = Common(":path");
    private static readonly HeaderName ContentLength = Common("content-length");
    private static readonly HeaderName Te = Common("te");
    private static readonly HeaderName Host = Common("host");
    private static readonly HeaderName Http2Settings = Common("http2-settings");

    private static readonly SearchValues<char> TokenCharacters = SearchValues.Create(
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    // A target is sent as it was matched: visible ASCII, and any accepted characters above it.
    private static readonly SearchValues<char> NotInTarget = SearchValues.Create(
        "\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008\u0009\u000A\u000B\u000C\u000D\u000E\u000F\u0010\u0011"
        + "\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001A\u001B\u001C\u001D\u001E\u001F\u0020\u007F");

    /// <summary>Says why a request cannot be sent; null when it can be.</summary>
    /// <param name="size">Its size in bytes, as SETTINGS_MAX_HEADER_LIST_SIZE counts it.</param>
    public static string? Check(UpstreamRequest request, out long size)
    {
        size = Size(Method.Text, request.Method) + Size(Scheme.Text, request.Scheme) + Size(Path.Text, request.Target)
            + Size(Authority.Text, request.Authority);
        if (!IsToken(request.Method))
        {
            return "the method is not a token";
        }
        if (request.Target.Length == 0 || !IsVisible(request.Target))
        {
            return "the target is empty or contains a space or a control character";
        }
        return IsVisible(request.Authority)
            ? Check(request.Fields, ref size)
            : "the authority contains a space or a control character";
    }

    /// <summary>Says why fields cannot be sent; null when they can be.</summary>
    /// <param name="size">Increased by their size.</param>
    public static string? Check(FieldList fields, ref long size)
    {
        foreach (ref readonly var field in fields.AsSpan())
        {
            if (HeaderName.FindCommon(field.Name) is { } common
                ? common.Kind is HeaderKind.Status or HeaderKind.OtherPseudo
                : !IsToken(field.Name))
            {
                return "a field's name is not a token";
            }
            if (!HeaderField.IsSoundValue(field.Value))
            {
                return $"the value of the field {field.Name} begins or ends with white space, or contains a control "
                    + "character or one that is not Latin-1";
            }
            size += Size(field.Name, field.Value);
        }
        return null;
    }

    /// <summary>
    /// Writes the header section of a request that has passed <see cref="Check(UpstreamRequest, out long)"/>.
    /// </summary>
    public static void Write(UpstreamRequest request, HpackEncoder encoder, OutputBuffer output)
    {
        encoder.Begin(output);
        encoder.Add(output, Method, request.Method);
        encoder.Add(output, Scheme, request.Scheme);
        if (request.Authority.Length > 0)
        {
            encoder.Add(output, Authority, request.Authority);
        }
        encoder.Add(output, Path, request.Target);
        if (request.ContentLength is { } length)
        {
            encoder.Add(output, ContentLength, length == 0 ? "0" : length.ToString(CultureInfo.InvariantCulture));
        }
        WriteFields(request.Fields, encoder, output);
    }

    /// <summary>Writes a trailer section.</summary>
    public static void WriteTrailers(FieldList trailers, HpackEncoder encoder, OutputBuffer output)
    {
        encoder.Begin(output);
        WriteFields(trailers, encoder, output);
    }

    private static void WriteFields(FieldList fields, HpackEncoder encoder, OutputBuffer output)
    {
        foreach (ref readonly var field in fields.AsSpan())
        {
            if (HeaderName.FindCommon(field.Name) is not { } name)
            {
                encoder.Add(output, field.Name, field.Value);
            }
            else if (IsSent(name, field.Value))
            {
                encoder.Add(output, name, field.Value);
            }
        }
    }

    /// <summary>
    /// Connection-specific fields of HTTP/1.1 are not sent, except TE with <c>trailers</c> (RFC 9113, section 8.2.2).
    /// </summary>
    private static bool IsSent(HeaderName name, string value) => name.Kind switch
    {
        HeaderKind.Regular => name != Host && name != Http2Settings,
        HeaderKind.ConnectionSpecific => name == Te && value.Equals("trailers", StringComparison.OrdinalIgnoreCase),
        _ => false,
    };

    private static bool IsToken(string text) => text.Length > 0 && !text.AsSpan().ContainsAnyExcept(TokenCharacters);

    private static bool IsVisible(string text) =>
        !text.AsSpan().ContainsAny(NotInTarget) && !text.AsSpan().ContainsAnyInRange('\u0100', '\uFFFF');

    private static int Size(string name, string value) => name.Length + value.Length + HeaderField.Overhead;

    private static HeaderName Common(string name) => HeaderName.FindCommon(name)!;
}
