using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Wire.Tls;

/// <summary>
/// What the handshakes of one certificate share: the certificate with its chain, the versions, the protocols, and the
/// keys of the tickets with which callers resume their sessions. Immutable and thread-safe.
/// </summary>
/// <remarks>
/// Callers keep their sessions, in tickets (RFC 5077; RFC 8446, 4.6.1); the server keeps none, so they cost it no
/// memory. There is no early data, no renegotiation, no compression and no key log.
/// </remarks>
public sealed unsafe class TlsServerContext : SafeHandle
{
    // For TLS 1.2, the suites that the runtime's own streams use; TLS 1.3 has its own.
    private static ReadOnlySpan<byte> Ciphers =>
        "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:"u8
        + "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256:"u8
        + "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256\0"u8;

    private static readonly Lazy<bool> SystemSetsCiphers = new(OpenSsl.SystemSetsCiphers);

    // Never freed, since sessions outlive the context. There are few different lists.
    private static readonly Lock ProtocolsLock = new();
    private static readonly Dictionary<string, nint> ProtocolLists = [];

    /// <summary>Only for the runtime; <see cref="Create"/> creates contexts.</summary>
    public TlsServerContext()
        : base(0, ownsHandle: true)
    {
    }

    /// <summary>Whether this system supports contexts: Linux, with OpenSSL 3.</summary>
    [SupportedOSPlatformGuard("linux")]
    public static bool IsSupported => OpenSsl.IsPresent;

    public override bool IsInvalid => handle == 0;

    /// <summary>Creates a context.</summary>
    /// <param name="certificate">The server's certificate, with its key.</param>
    /// <param name="chain">The certificates to send after it, in this order.</param>
    /// <param name="isTls13Only">Whether TLS 1.2 is off.</param>
    /// <param name="protocols">The protocols for ALPN, the preferred one first.</param>
    /// <returns>Null when the kind of its key is not supported.</returns>
    /// <exception cref="AuthenticationException">The library rejects the certificate or the key.</exception>
    [SupportedOSPlatform("linux")]
    public static TlsServerContext? Create(
        X509Certificate2 certificate,
        IEnumerable<X509Certificate2> chain,
        bool isTls13Only,
        IReadOnlyList<string> protocols)
    {
        using var key = KeyOf(certificate);
        if (key is null)
        {
            return null;
        }
        var context = new TlsServerContext();
        try
        {
            OpenSsl.ClearErrors();
            context.SetHandle(OpenSsl.ContextNew(OpenSsl.ServerMethod()));
            Check(!context.IsInvalid);
            var native = context.handle;
            OpenSsl.ContextSetOptions(
                native, OpenSsl.NoCompression | OpenSsl.NoRenegotiation | OpenSsl.ServerPreference);
            OpenSsl.ContextControl(
                native, OpenSsl.ControlMode, OpenSsl.ModeMovingWriteBuffer | OpenSsl.ModeReleaseBuffers, 0);
            OpenSsl.ContextControl(native, OpenSsl.ControlSessionCache, 0, 0);
            Check(OpenSsl.ContextControl(
                native, OpenSsl.ControlMinVersion, isTls13Only ? OpenSsl.Tls13 : OpenSsl.Tls12, 0) == 1);
            if (!SystemSetsCiphers.Value)
            {
                fixed (byte* ciphers = Ciphers)
                {
                    Check(OpenSsl.ContextSetCiphers(native, ciphers) == 1);
                }
            }
            var id = stackalloc byte[32];
            RandomNumberGenerator.Fill(new Span<byte>(id, 32));
            Check(OpenSsl.ContextSetSessionId(native, id, 32) == 1);
            Check(OpenSsl.ContextUseCertificate(native, certificate.Handle) == 1);
            GC.KeepAlive(certificate);
            foreach (var other in chain)
            {
                // This adds a reference.
                Check(OpenSsl.ContextControl(native, OpenSsl.ControlChainCertificate, 1, other.Handle) == 1);
                GC.KeepAlive(other);
            }
            Check(OpenSsl.ContextUseKey(native, key) == 1);
            Check(OpenSsl.ContextCheckKey(native) == 1);
            OpenSsl.ContextSetAlpn(native, &SelectProtocol, ProtocolList(protocols));
            return context;
        }
        catch
        {
            context.Dispose();
            throw;
        }
    }

    /// <summary>Creates a connection's native object, which holds a reference to the native context.</summary>
    internal nint NewSession()
    {
        var isHeld = false;
        try
        {
            DangerousAddRef(ref isHeld);
            return OpenSsl.New(handle);
        }
        finally
        {
            if (isHeld)
            {
                DangerousRelease();
            }
        }
    }

    protected override bool ReleaseHandle()
    {
        OpenSsl.ContextFree(handle);
        return true;
    }

    private static void Check(bool isGood)
    {
        if (!isGood)
        {
            throw new AuthenticationException(OpenSsl.TakeReason());
        }
    }

    // On Linux, the runtime's keys are OpenSSL's.
    [SupportedOSPlatform("linux")]
    private static SafeEvpPKeyHandle? KeyOf(X509Certificate2 certificate)
    {
        using AsymmetricAlgorithm? key =
            (AsymmetricAlgorithm?)certificate.GetRSAPrivateKey() ?? certificate.GetECDsaPrivateKey();
        return key switch
        {
            RSAOpenSsl rsa => rsa.DuplicateKeyHandle(),
            ECDsaOpenSsl ecdsa => ecdsa.DuplicateKeyHandle(),
            RSA rsa => Copy(rsa),
            ECDsa ecdsa => Copy(ecdsa),
            _ => null,
        };
    }

    [SupportedOSPlatform("linux")]
    private static SafeEvpPKeyHandle Copy(RSA key)
    {
        using var copy = new RSAOpenSsl(key.ExportParameters(includePrivateParameters: true));
        return copy.DuplicateKeyHandle();
    }

    [SupportedOSPlatform("linux")]
    private static SafeEvpPKeyHandle Copy(ECDsa key)
    {
        using var copy = new ECDsaOpenSsl();
        copy.ImportParameters(key.ExportParameters(includePrivateParameters: true));
        return copy.DuplicateKeyHandle();
    }

    /// <summary>The list in the wire format of ALPN (RFC 7301, 3.1), preceded by its length.</summary>
    private static nint ProtocolList(IReadOnlyList<string> protocols)
    {
        lock (ProtocolsLock)
        {
            var name = string.Join(',', protocols);
            if (!ProtocolLists.TryGetValue(name, out var list))
            {
                var length = protocols.Sum(static protocol => 1 + protocol.Length);
                list = (nint)NativeMemory.Alloc((nuint)(sizeof(uint) + length));
                *(uint*)list = (uint)length;
                var next = (byte*)list + sizeof(uint);
                foreach (var protocol in protocols)
                {
                    *next++ = (byte)protocol.Length;
                    foreach (var letter in protocol)
                    {
                        *next++ = (byte)letter;
                    }
                }
                ProtocolLists.Add(name, list);
            }
            return list;
        }
    }

    /// <summary>A caller that offers protocols, but none of these, gets the alert for that (RFC 7301, 3.2).</summary>
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int SelectProtocol(
        nint ssl, byte** chosen, byte* chosenLength, byte* offered, uint offeredLength, nint list) =>
        OpenSsl.SelectProtocol(
            chosen, chosenLength, (byte*)list + sizeof(uint), *(uint*)list, offered, offeredLength)
            == OpenSsl.NegotiatedProtocol
            ? OpenSsl.AlpnSelected
            : OpenSsl.AlpnFatal;
}
