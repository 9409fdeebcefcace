using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using Kedge.Domain;

namespace Kedge.Host.RateLimits;

/// <summary>A rate limit of the active configuration, with its buckets.</summary>
internal sealed class ActiveLimit(RateLimit limit, BucketTable table, LimitCounters counters, ReplicaCount replicas)
{
    private readonly KeyPart[] _key = [.. limit.Key];
    private readonly Gcra _alone = limit.Share(1);
    private readonly bool _isDivided = limit.Scale == Domain.Decoded.LimitScale.AllReplicas;

    public RateLimit Limit => limit;

    public BucketTable Table => table;

    public LimitCounters Counters => counters;

    public ReadOnlySpan<KeyPart> Key => _key;

    public bool IsShadow { get; } = limit.Shadow;

    /// <summary>What this replica allows now.</summary>
    public Gcra Share => _isDivided ? limit.Share(replicas.Count) : _alone;

    /// <summary>What pages show for a key: an address or a network, or the beginning of a hash.</summary>
    public string TextOf(UInt128 key)
    {
        if (_key is not [KeyPart.ClientAddress { ipv6Prefix: var prefix }])
        {
            return ((ulong)(key >> 64)).ToString("x16", CultureInfo.InvariantCulture);
        }
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, key);
        var address = new IPAddress(bytes);
        return address.IsIPv4MappedToIPv6 ? address.MapToIPv4().ToString()
            : prefix < 128 ? $"{address}/{prefix}"
            : address.ToString();
    }

    /// <summary>Whether another limit of the same name uses the same buckets, except for how many there are.</summary>
    public bool HasSameKeys(RateLimit other) =>
        limit.Key.Equals(other.Key) && limit.OnMissingKey == other.OnMissingKey;
}
