namespace Kedge.Host.RateLimits;

/// <summary>Which bucket of a rate limit a request belongs to.</summary>
/// <param name="Kind">What <paramref name="Value"/> means.</param>
/// <param name="Value">An address or a hash; only for <see cref="BucketKind.Keyed"/>.</param>
public readonly record struct BucketKey(BucketKind Kind, UInt128 Value)
{
    public static BucketKey Common => new(BucketKind.Common, 0);

    public static BucketKey None => new(BucketKind.None, 0);

    public static BucketKey Of(UInt128 value) => new(BucketKind.Keyed, value);
}

public enum BucketKind : byte
{
    /// <summary>The limit does not apply to the request.</summary>
    None,

    /// <summary>The one bucket of a limit without a key, or of requests that lack a part of the key.</summary>
    Common,

    Keyed,
}
