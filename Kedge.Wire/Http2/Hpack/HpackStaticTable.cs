namespace Kedge.Wire.Http2.Hpack;

/// <summary>The static table (RFC 7541, appendix A). Its indexes start at 1.</summary>
internal static class HpackStaticTable
{
    public const int Count = 61;

    private static readonly (string Name, string Value)[] Entries =
    [
        (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
        (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
        (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
        ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
        ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
        ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
        ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""),
        ("etag", ""),
        ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
        ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
        ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
        ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
        ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
        ("www-authenticate", ""),
    ];

    private static HeaderField[]? _fields;

    /// <summary>The name of an entry, 1 to <see cref="Count"/>.</summary>
    public static string NameAt(int index) => Entries[index - 1].Name;

    /// <summary>The entry at an index, 1 to <see cref="Count"/>.</summary>
    public static HeaderField At(int index) => (_fields ??= MakeFields())[index - 1];

    /// <summary>The index of the entry with this name and value; 0 = there is none.</summary>
    public static int Find(HeaderName name, string value)
    {
        // Entries with the same name are adjacent.
        for (var index = name.StaticIndex; index is > 0 and <= Count && Entries[index - 1].Name == name.Text; index++)
        {
            if (Entries[index - 1].Value == value)
            {
                return index;
            }
        }
        return 0;
    }

    private static HeaderField[] MakeFields() =>
        [.. Entries.Select(entry => new HeaderField(HeaderName.FindCommon(entry.Name)!, entry.Value, true))];
}
