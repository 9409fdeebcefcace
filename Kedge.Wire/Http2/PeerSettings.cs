namespace Kedge.Wire.Http2;

/// <summary>The peer's settings; initially the protocol's defaults (RFC 9113, section 6.5.2).</summary>
internal sealed class PeerSettings
{
    public const int LeastMaxFrameSize = 16 * 1024;

    public uint MaxConcurrentStreams { get; set; } = uint.MaxValue;

    public int InitialWindow { get; set; } = 65_535;

    public int MaxFrameSize { get; set; } = LeastMaxFrameSize;

    public uint MaxHeaderListSize { get; set; } = uint.MaxValue;
}
