using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using System.Security.Cryptography;

namespace Kedge.Wire.Tls;

/// <summary>
/// The functions of OpenSSL 3 that a server needs, from the library that the runtime of this process uses for its own
/// TLS streams and keys.
/// </summary>
/// <remarks>
/// Each thread has its own error queue, which must be cleared before each operation whose error is examined
/// (SSL_get_error(3)). Only <see cref="TlsServerContext"/> and <see cref="TlsSession"/> call this, and they keep the
/// pointers valid.
/// </remarks>
internal static unsafe partial class OpenSsl
{
    public const int Tls12 = 0x0303;
    public const int Tls13 = 0x0304;

    // SSL_get_error(3)
    public const int ErrorWantRead = 2;
    public const int ErrorZeroReturn = 6;

    // SSL_CTX_set_options(3)
    public const ulong NoCompression = 1UL << 17;
    public const ulong NoRenegotiation = 1UL << 30;
    public const ulong ServerPreference = 1UL << 22;

    // SSL_CTX_ctrl(3)
    public const int ControlMode = 33;
    public const int ControlSessionCache = 44;
    public const int ControlChainCertificate = 89;
    public const int ControlMinVersion = 123;

    // SSL_CTX_set_mode(3): buffers for records are kept only while they hold a part of one.
    public const int ModeMovingWriteBuffer = 2;
    public const int ModeReleaseBuffers = 16;

    // The results of selecting a protocol (SSL_CTX_set_alpn_select_cb(3)).
    public const int AlpnSelected = 0;
    public const int AlpnFatal = 2;
    public const int NegotiatedProtocol = 1;

    // BIO_ctrl(3), BIO_set_flags(3)
    public const int BioFlush = 11;
    public const int BioRetryRead = 0x01 | 0x08;
    public const int BioSource = 0x0400;

    private const string Ssl = "libssl.so.3";
    private const string Crypto = "libcrypto.so.3";

    /// <summary>
    /// Whether the library is present and is the one that the runtime uses, whose keys and certificates are objects of
    /// that library.
    /// </summary>
    [SupportedOSPlatformGuard("linux")]
    public static bool IsPresent { get; } = IsRuntimesOwn();

    [LibraryImport(Ssl, EntryPoint = "TLS_server_method")]
    public static partial nint ServerMethod();

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_new")]
    public static partial nint ContextNew(nint method);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_free")]
    public static partial void ContextFree(nint context);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_ctrl")]
    public static partial nint ContextControl(nint context, int command, nint number, nint pointer);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_set_options")]
    public static partial ulong ContextSetOptions(nint context, ulong options);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_set_cipher_list")]
    public static partial int ContextSetCiphers(nint context, byte* ciphers);

    [LibraryImport(Ssl, EntryPoint = "OSSL_default_cipher_list")]
    public static partial byte* DefaultCiphers();

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_get_ciphers")]
    public static partial nint ContextCiphers(nint context);

    [LibraryImport(Crypto, EntryPoint = "OPENSSL_sk_num")]
    public static partial int StackCount(nint stack);

    [LibraryImport(Crypto, EntryPoint = "OPENSSL_sk_value")]
    public static partial nint StackItem(nint stack, int index);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_use_certificate")]
    public static partial int ContextUseCertificate(nint context, nint certificate);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_use_PrivateKey")]
    public static partial int ContextUseKey(nint context, SafeHandle key);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_check_private_key")]
    public static partial int ContextCheckKey(nint context);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_set_session_id_context")]
    public static partial int ContextSetSessionId(nint context, byte* id, uint length);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_set_alpn_select_cb")]
    public static partial void ContextSetAlpn(
        nint context, delegate* unmanaged[Cdecl]<nint, byte**, byte*, byte*, uint, nint, int> select, nint argument);

    [LibraryImport(Ssl, EntryPoint = "SSL_select_next_proto")]
    public static partial int SelectProtocol(
        byte** chosen, byte* chosenLength, byte* server, uint serverLength, byte* client, uint clientLength);

    [LibraryImport(Ssl, EntryPoint = "SSL_new")]
    public static partial nint New(nint context);

    [LibraryImport(Ssl, EntryPoint = "SSL_free")]
    public static partial void Free(nint ssl);

    [LibraryImport(Ssl, EntryPoint = "SSL_set_bio")]
    public static partial void SetBio(nint ssl, nint read, nint write);

    [LibraryImport(Ssl, EntryPoint = "SSL_set_accept_state")]
    public static partial void SetAcceptState(nint ssl);

    [LibraryImport(Ssl, EntryPoint = "SSL_do_handshake")]
    public static partial int Handshake(nint ssl);

    [LibraryImport(Ssl, EntryPoint = "SSL_read")]
    public static partial int Read(nint ssl, byte* buffer, int length);

    [LibraryImport(Ssl, EntryPoint = "SSL_write")]
    public static partial int Write(nint ssl, byte* buffer, int length);

    [LibraryImport(Ssl, EntryPoint = "SSL_pending")]
    [SuppressGCTransition]
    public static partial int Pending(nint ssl);

    [LibraryImport(Ssl, EntryPoint = "SSL_shutdown")]
    public static partial int Shutdown(nint ssl);

    [LibraryImport(Ssl, EntryPoint = "SSL_get_error")]
    public static partial int GetError(nint ssl, int result);

    public static bool IsTls13(nint ssl) => Version(ssl) == Tls13;

    [LibraryImport(Ssl, EntryPoint = "SSL_get_current_cipher")]
    public static partial nint CurrentCipher(nint ssl);

    [LibraryImport(Ssl, EntryPoint = "SSL_CIPHER_get_protocol_id")]
    public static partial ushort CipherId(nint cipher);

    [LibraryImport(Ssl, EntryPoint = "SSL_get0_alpn_selected")]
    public static partial void SelectedProtocol(nint ssl, byte** protocol, uint* length);

    [LibraryImport(Crypto, EntryPoint = "ERR_clear_error")]
    [SuppressGCTransition]
    public static partial void ClearErrors();

    [LibraryImport(Crypto, EntryPoint = "ERR_get_error")]
    public static partial nuint NextError();

    [LibraryImport(Crypto, EntryPoint = "ERR_reason_error_string")]
    public static partial nint ErrorReason(nuint error);

    [LibraryImport(Crypto, EntryPoint = "BIO_get_new_index")]
    public static partial int BioNewIndex();

    [LibraryImport(Crypto, EntryPoint = "BIO_meth_new", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint BioMethodNew(int type, string name);

    [LibraryImport(Crypto, EntryPoint = "BIO_meth_set_read")]
    public static partial int BioMethodSetRead(nint method, delegate* unmanaged[Cdecl]<nint, byte*, int, int> read);

    [LibraryImport(Crypto, EntryPoint = "BIO_meth_set_write")]
    public static partial int BioMethodSetWrite(nint method, delegate* unmanaged[Cdecl]<nint, byte*, int, int> write);

    [LibraryImport(Crypto, EntryPoint = "BIO_meth_set_ctrl")]
    public static partial int BioMethodSetControl(
        nint method, delegate* unmanaged[Cdecl]<nint, int, nint, nint, nint> control);

    [LibraryImport(Crypto, EntryPoint = "BIO_new")]
    public static partial nint BioNew(nint method);

    [LibraryImport(Crypto, EntryPoint = "BIO_free")]
    public static partial int BioFree(nint bio);

    [LibraryImport(Crypto, EntryPoint = "BIO_set_init")]
    public static partial void BioSetInit(nint bio, int isInitialized);

    [LibraryImport(Crypto, EntryPoint = "BIO_set_data")]
    public static partial void BioSetData(nint bio, nint data);

    [LibraryImport(Crypto, EntryPoint = "BIO_get_data")]
    [SuppressGCTransition]
    public static partial nint BioGetData(nint bio);

    [LibraryImport(Crypto, EntryPoint = "BIO_set_flags")]
    [SuppressGCTransition]
    public static partial void BioSetFlags(nint bio, int flags);

    [LibraryImport(Crypto, EntryPoint = "BIO_clear_flags")]
    [SuppressGCTransition]
    public static partial void BioClearFlags(nint bio, int flags);

    /// <summary>
    /// Whether the system's configuration of the library (openssl.cnf) sets cipher suites: new contexts then have other
    /// suites than the library's default.
    /// </summary>
    public static bool SystemSetsCiphers()
    {
        var system = ContextNew(ServerMethod());
        var plain = ContextNew(ServerMethod());
        var isSame = ContextSetCiphers(plain, DefaultCiphers()) == 1 && Ids(system).SequenceEqual(Ids(plain));
        ContextFree(system);
        ContextFree(plain);
        ClearErrors();
        return !isSame;

        static IEnumerable<ushort> Ids(nint context)
        {
            var ciphers = ContextCiphers(context);
            return Enumerable.Range(0, Math.Max(0, StackCount(ciphers)))
                .Select(index => CipherId(StackItem(ciphers, index)));
        }
    }

    private static bool IsRuntimesOwn()
    {
        if (!OperatingSystem.IsLinux() || !NativeLibrary.TryLoad(Ssl, out _) || !NativeLibrary.TryLoad(Crypto, out _))
        {
            return false;
        }
        try
        {
            return SafeEvpPKeyHandle.OpenSslVersion == (long)VersionNumber();
        }
        catch (PlatformNotSupportedException)
        {
            return false;
        }
    }

    [LibraryImport(Crypto, EntryPoint = "OpenSSL_version_num")]
    private static partial nuint VersionNumber();

    [LibraryImport(Ssl, EntryPoint = "SSL_version")]
    private static partial int Version(nint ssl);

    /// <summary>
    /// Returns the reason for this thread's first error, in the library's words, and empties the queue.
    /// </summary>
    public static string TakeReason()
    {
        var error = NextError();
        ClearErrors();
        return (error == 0 ? null : Marshal.PtrToStringUTF8(ErrorReason(error))) ?? "unknown TLS error";
    }
}
