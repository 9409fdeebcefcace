using System.Globalization;
using Kedge.Wire.Http2.Hpack;
using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>The frame of an informational response (RFC 9113, section 8.1), as a server sends it.</summary>
public static class InformationalFrame
{
    /// <summary>
    /// Encodes a HEADERS frame. Its header block refers to nothing in the dynamic table and adds nothing to it, so it
    /// fits between the blocks of a server that does not use that table.
    /// </summary>
    /// <param name="streamId">Of the request.</param>
    /// <param name="status">100 to 199.</param>
    /// <param name="fields">Names may be in any case; names and values must be sound.</param>
    /// <returns>Null when the fields do not fit into one frame of the size that every client accepts.</returns>
    public static byte[]? Encode(int streamId, int status, FieldList fields)
    {
        // The encoder first sets the table size to 0: the client may have asked for a smaller table than before.
        var encoder = new HpackEncoder(maxTableSize: 0, usesHuffman: false);
        var output = new OutputBuffer();
        output.Reserve(FrameHeader.Size);
        output.Advance(FrameHeader.Size);
        encoder.Begin(output);
        encoder.Add(output, ":status", status.ToString(CultureInfo.InvariantCulture));
        foreach (ref readonly var field in fields.AsSpan())
        {
            encoder.Add(output, field.Name, field.Value);
        }
        var length = output.Length - FrameHeader.Size;
        byte[]? frame = null;
        if (length <= PeerSettings.LeastMaxFrameSize)
        {
            new FrameHeader(length, FrameType.Headers, FrameFlags.EndHeaders, streamId).Write(output.Written);
            frame = output.Written.ToArray();
        }
        output.Free();
        return frame;
    }
}
