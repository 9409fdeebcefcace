namespace Kedge.Wire.Http1;

/// <summary>How far a parser has come.</summary>
public enum ParseStatus
{
    /// <summary>More bytes are needed.</summary>
    Incomplete,

    /// <summary>The section has ended.</summary>
    Complete,

    /// <summary>The bytes break a rule of HTTP. The parser must be reset before it is used again.</summary>
    Malformed,

    /// <summary>The section exceeds the limit.</summary>
    TooLarge,
}
