using System.IO.Pipelines;
using System.Net.Security;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using System.Text;
using Kedge.Wire.Transport;

namespace Kedge.Wire.Tls;

/// <summary>The outcome of an operation of a <see cref="TlsSession"/>.</summary>
internal enum TlsProgress
{
    /// <summary>The operation is complete.</summary>
    Done,

    /// <summary>All input was consumed, and more is needed.</summary>
    NeedsInput,

    /// <summary>The peer has ended its direction with <c>close_notify</c>.</summary>
    Ended,
}

/// <summary>
/// The server's side of one TLS connection, without a socket: records go in and come out through the caller's buffers.
/// One thread at a time: both readers and writers take <see cref="Lock"/>.
/// </summary>
internal sealed unsafe class TlsSession : IDisposable
{
    /// <summary>The most plaintext that one record can contain, in bytes (RFC 8446, 5.1).</summary>
    public const int MaxPlaintext = 16 * 1024;

    // How much longer than its plaintext a record may be: the header and, with the oldest suites, an IV, a MAC and the
    // padding (RFC 5246, 6.2.3).
    private const int MaxExpansion = 512;

    // How many bytes may wait for the next write once the handshake is done: tickets, and the responses to key updates
    // and to attempts to renegotiate. A peer could ask for these endlessly.
    private const int MaxRest = 16 * 1024;

    private static readonly nint Method = CreateMethod();

    private nint _ssl;
    private GCHandle _self;

    // The bytes that the peer has sent, during one operation.
    private byte* _input;
    private int _inputLength;

    // Where records go, during one operation.
    private byte* _room;
    private int _roomLength;
    private int _written;

    // Records for which there was no room: those of the handshake, and responses to records that were read. They are
    // sent before the next write.
    private OutputBytes _rest;

    /// <exception cref="IOException">The library is out of memory.</exception>
    public TlsSession(TlsServerContext context)
    {
        _ssl = context.NewSession();
        var bio = OpenSsl.BioNew(Method);
        if (_ssl == 0 || bio == 0)
        {
            OpenSsl.Free(_ssl);
            _ = OpenSsl.BioFree(bio);
            _ssl = 0;
            throw new IOException("no memory for a TLS connection");
        }
        _self = GCHandle.Alloc(this);
        OpenSsl.BioSetData(bio, GCHandle.ToIntPtr(_self));
        OpenSsl.BioSetInit(bio, 1);
        // The connection owns it from here on.
        OpenSsl.SetBio(_ssl, bio, bio);
        OpenSsl.SetAcceptState(_ssl);
    }

    public Lock Lock { get; } = new();

    /// <summary>Whether nothing more can be written: the session has failed, or is closed.</summary>
    public bool IsBroken { get; private set; }

    /// <summary>How many bytes of the input the session has not consumed.</summary>
    public int InputLeft => _inputLength;

    /// <summary>Whether a part of the last record was decrypted but not read yet.</summary>
    public bool HasPlaintext => _ssl != 0 && OpenSsl.Pending(_ssl) > 0;

    /// <summary>Whether there are records that no write has sent along yet.</summary>
    public bool HasRest => _rest.Length > 0;

    /// <summary>The negotiated version.</summary>
    public SslProtocols Protocol => OpenSsl.IsTls13(_ssl) ? SslProtocols.Tls13 : SslProtocols.Tls12;

    /// <summary>The negotiated cipher suite.</summary>
    public TlsCipherSuite CipherSuite
    {
        get
        {
            var cipher = OpenSsl.CurrentCipher(_ssl);
            return cipher == 0 ? default : (TlsCipherSuite)OpenSsl.CipherId(cipher);
        }
    }

    /// <summary>The protocol that ALPN selected; empty = none.</summary>
    public string ApplicationProtocol
    {
        get
        {
            byte* protocol;
            uint length;
            OpenSsl.SelectedProtocol(_ssl, &protocol, &length);
            return Encoding.ASCII.GetString(new ReadOnlySpan<byte>(protocol, (int)length));
        }
    }

    /// <summary>Sets the bytes that the peer has sent. They must stay in place until the operation ends.</summary>
    public void SetInput(byte* bytes, int length)
    {
        _input = bytes;
        _inputLength = length;
    }

    /// <summary>Continues the handshake with the input that was set.</summary>
    /// <exception cref="AuthenticationException">It failed; an alert may be among the records to send.</exception>
    public TlsProgress Handshake()
    {
        OpenSsl.ClearErrors();
        var result = OpenSsl.Handshake(_ssl);
        return result == 1 ? TlsProgress.Done : Failed(result);
    }

    /// <summary>Decrypts the input that was set, at most one record.</summary>
    /// <exception cref="AuthenticationException">The peer has broken the protocol, or sent an alert.</exception>
    public TlsProgress Read(Span<byte> room, out int count)
    {
        count = 0;
        if (_ssl == 0)
        {
            return TlsProgress.Ended;
        }
        if (_inputLength == 0 && OpenSsl.Pending(_ssl) == 0)
        {
            return TlsProgress.NeedsInput;
        }
        OpenSsl.ClearErrors();
        int result;
        fixed (byte* bytes = room)
        {
            result = OpenSsl.Read(_ssl, bytes, room.Length);
        }
        if (_rest.Length > MaxRest)
        {
            IsBroken = true;
            throw new AuthenticationException("too many messages that want an answer");
        }
        if (result > 0)
        {
            count = result;
            return TlsProgress.Done;
        }
        return Failed(result);
    }

    /// <summary>Encrypts, and writes the records to the output, after those that were left. Does not flush.</summary>
    public void Write(ReadOnlySpan<byte> plaintext, PipeWriter output)
    {
        while (plaintext.Length > 0 && !IsBroken)
        {
            var piece = plaintext[..Math.Min(plaintext.Length, MaxPlaintext)];
            var room = Begin(output, piece.Length + MaxExpansion);
            fixed (byte* start = room)
            fixed (byte* bytes = piece)
            {
                _room = start + _written;
                _roomLength = room.Length - _written;
                OpenSsl.ClearErrors();
                IsBroken = OpenSsl.Write(_ssl, bytes, piece.Length) != piece.Length;
                _room = null;
                _roomLength = 0;
            }
            output.Advance(_written);
            plaintext = plaintext[piece.Length..];
        }
    }

    /// <summary>Writes the records that were left to the output. Does not flush.</summary>
    public void WriteRest(PipeWriter output)
    {
        if (HasRest)
        {
            Begin(output, 0);
            output.Advance(_written);
        }
    }

    /// <summary>Writes <c>close_notify</c> (RFC 8446, 6.1), unless the session has failed. Does not flush.</summary>
    public void Shutdown(PipeWriter output)
    {
        if (!IsBroken)
        {
            OpenSsl.ClearErrors();
            // Does not wait for what the peer still sends.
            _ = OpenSsl.Shutdown(_ssl);
            IsBroken = true;
        }
        // If the session has failed, this is an alert.
        WriteRest(output);
    }

    /// <summary>Frees the session. From now on, reads return the end and writes are ignored.</summary>
    public void Dispose()
    {
        lock (Lock)
        {
            IsBroken = true;
            if (_ssl != 0)
            {
                OpenSsl.Free(_ssl);
                _ssl = 0;
                _self.Free();
            }
            _rest.Clear();
        }
    }

    /// <summary>Returns room in the output, and puts the records that were left at its start.</summary>
    private Span<byte> Begin(PipeWriter output, int size)
    {
        var room = output.GetSpan(_rest.Length + size);
        _rest.Span.CopyTo(room);
        _written = _rest.Length;
        _rest.Clear();
        return room;
    }

    private TlsProgress Failed(int result)
    {
        switch (OpenSsl.GetError(_ssl, result))
        {
            case OpenSsl.ErrorWantRead:
                return TlsProgress.NeedsInput;
            case OpenSsl.ErrorZeroReturn:
                return TlsProgress.Ended;
            default:
                IsBroken = true;
                throw new AuthenticationException(OpenSsl.TakeReason());
        }
    }

    private static nint CreateMethod()
    {
        var method = OpenSsl.BioMethodNew(OpenSsl.BioNewIndex() | OpenSsl.BioSource, "kedge");
        _ = OpenSsl.BioMethodSetRead(method, &OnRead);
        _ = OpenSsl.BioMethodSetWrite(method, &OnWrite);
        _ = OpenSsl.BioMethodSetControl(method, &OnControl);
        return method;
    }

    private static TlsSession Of(nint bio) =>
        Unsafe.As<TlsSession>(GCHandle.FromIntPtr(OpenSsl.BioGetData(bio)).Target!);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int OnRead(nint bio, byte* bytes, int length)
    {
        var session = Of(bio);
        OpenSsl.BioClearFlags(bio, OpenSsl.BioRetryRead);
        var count = Math.Min(length, session._inputLength);
        if (count == 0)
        {
            OpenSsl.BioSetFlags(bio, OpenSsl.BioRetryRead);
            return -1;
        }
        Unsafe.CopyBlockUnaligned(bytes, session._input, (uint)count);
        session._input += count;
        session._inputLength -= count;
        return count;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int OnWrite(nint bio, byte* bytes, int length)
    {
        try
        {
            var session = Of(bio);
            if (session._rest.Length == 0 && length <= session._roomLength)
            {
                Unsafe.CopyBlockUnaligned(session._room, bytes, (uint)length);
                session._room += length;
                session._roomLength -= length;
                session._written += length;
            }
            else
            {
                session._rest.Add(new ReadOnlySpan<byte>(bytes, length));
            }
            return length;
        }
        catch (OutOfMemoryException)
        {
            // No exception may pass through the library.
            return -1;
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static nint OnControl(nint bio, int command, nint number, nint pointer) =>
        command == OpenSsl.BioFlush ? 1 : 0;
}
