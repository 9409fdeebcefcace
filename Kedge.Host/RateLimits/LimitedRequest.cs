using System.Buffers;
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Kedge.Domain;
using Kedge.Host.Authorization;
using Kedge.Host.Certificates;
using OnMissingKey = Kedge.Domain.Decoded.OnMissingKey;

namespace Kedge.Host.RateLimits;

/// <summary>What rate limits need to know about a request.</summary>
/// <param name="context">The caller's request.</param>
/// <param name="host">The host that the request is for, without a port.</param>
/// <param name="route">The name of its route in keys.</param>
/// <param name="clientAddressOf">Returns the address of the caller.</param>
internal readonly ref struct LimitedRequest(
    HttpContext context, ReadOnlySpan<char> host, string route, Func<HttpContext, IPAddress?> clientAddressOf)
{
    // Longer keys are hashed from pooled memory.
    private const int MaxOnStack = 512;

    // Hashed with each key, so that the keys on pages or in dumps do not confirm a guessed value.
    private static readonly byte[] Secret = RandomNumberGenerator.GetBytes(16);

    private readonly ReadOnlySpan<char> _host = host;

    /// <summary>The key of the request's bucket in a limit.</summary>
    public BucketKey KeyOf(ActiveLimit limit)
    {
        var parts = limit.Key;
        if (parts.Length == 0)
        {
            return BucketKey.Common;
        }
        if (parts is [KeyPart.ClientAddress { ipv6Prefix: var prefix }])
        {
            return clientAddressOf(context) is { } address ? BucketKey.Of(Bits(address, prefix)) : Missing(limit);
        }
        var texts = new TextBuffer(stackalloc byte[MaxOnStack]);
        try
        {
            texts.Append(Secret);
            foreach (var part in parts)
            {
                if (!TryAppend(part, ref texts))
                {
                    return Missing(limit);
                }
            }
            Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
            SHA256.HashData(texts.Written, hash);
            return BucketKey.Of(BinaryPrimitives.ReadUInt128BigEndian(hash));
        }
        finally
        {
            texts.Dispose();
        }
    }

    /// <summary>The bits of the address; of an IPv6 address, only the first ones.</summary>
    private static UInt128 Bits(IPAddress address, int ipv6Prefix)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (address.AddressFamily == AddressFamily.InterNetworkV6)
        {
            address.TryWriteBytes(bytes, out _);
            var bits = BinaryPrimitives.ReadUInt128BigEndian(bytes);
            return bits & (UInt128.MaxValue << (128 - ipv6Prefix));
        }
        address.TryWriteBytes(bytes[12..], out _);
        bytes[10] = bytes[11] = 0xff;
        return BinaryPrimitives.ReadUInt128BigEndian(bytes);
    }

    private static BucketKey Missing(ActiveLimit limit) =>
        limit.Limit.OnMissingKey == OnMissingKey.Skip ? BucketKey.None : BucketKey.Common;

    private bool TryAppend(KeyPart part, ref TextBuffer texts)
    {
        switch (part)
        {
            case KeyPart.ClientAddress { ipv6Prefix: var prefix }:
                if (clientAddressOf(context) is not { } address)
                {
                    return false;
                }
                var bits = Bits(address, prefix);
                texts.Append(MemoryMarshal.AsBytes(new ReadOnlySpan<UInt128>(in bits)));
                return true;
            case KeyPart.Header { name: var name }:
                return context.Request.Headers.TryGetValue(name, out var values) && values.Count > 0
                    && TryAppend(values[0], ref texts);
            case { IsHost: true }:
                return TryAppend(_host, ref texts);
            default:
                return TryAppend(TextOf(part), ref texts);
        }
    }

    private string? TextOf(KeyPart part) =>
        part.IsRoute ? route
        : part.IsClientSan ? context.Connection.ClientCertificate is { } own ? CertificateNames.FirstOf(own) : null
        : part.IsTokenSubject ? RequestToken.Of(context)?.Subject
        : RequestToken.Of(context)?.Issuer;

    private static bool TryAppend(string? text, ref TextBuffer texts) =>
        text is not null && TryAppend(text.AsSpan(), ref texts);

    private static bool TryAppend(ReadOnlySpan<char> text, ref TextBuffer texts)
    {
        texts.Append(text);
        return text.Length > 0;
    }

    /// <summary>
    /// Texts one after the other, each with its length, so that no two sequences yield the same bytes.
    /// </summary>
    private ref struct TextBuffer(Span<byte> initial)
    {
        private Span<byte> _bytes = initial;
        private byte[]? _rented;
        private int _length;

        public readonly ReadOnlySpan<byte> Written => _bytes[.._length];

        public void Append(scoped ReadOnlySpan<char> text)
        {
            var room = Reserve(sizeof(int) + Encoding.UTF8.GetMaxByteCount(text.Length));
            var written = Encoding.UTF8.GetBytes(text, room[sizeof(int)..]);
            BinaryPrimitives.WriteInt32LittleEndian(room, written);
            _length += sizeof(int) + written;
        }

        public void Append(scoped ReadOnlySpan<byte> bytes)
        {
            bytes.CopyTo(Reserve(bytes.Length));
            _length += bytes.Length;
        }

        public readonly void Dispose()
        {
            if (_rented is not null)
            {
                ArrayPool<byte>.Shared.Return(_rented);
            }
        }

        private Span<byte> Reserve(int count)
        {
            if (_bytes.Length - _length < count)
            {
                var larger = ArrayPool<byte>.Shared.Rent(_length + count);
                Written.CopyTo(larger);
                Dispose();
                _bytes = _rented = larger;
            }
            return _bytes[_length..];
        }
    }
}
