using System.Globalization;
using System.Text;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;

namespace Kedge.Host.Forwarding;

/// <summary>
/// Sends a response body to an HTTP/1.1 caller in the chunked transfer coding, with trailers (RFC 9112, 7.1), which the
/// server itself cannot send.
/// </summary>
/// <param name="target">The server's stream for a response that has Transfer-Encoding set.</param>
internal sealed class ChunkedResponseBody(Stream target) : AsyncStream
{
    /// <summary>The server's stream.</summary>
    public Stream Target => target;

    public override bool CanRead => false;

    public override bool CanWrite => true;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("the response of the caller is write-only");

    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.IsEmpty)
        {
            return;
        }
        // In one piece, so that no chunk is flushed without its end.
        var size = buffer.Length.ToString("X", CultureInfo.InvariantCulture);
        var chunk = new byte[size.Length + buffer.Length + 4];
        var written = Encoding.ASCII.GetBytes(size, chunk);
        "\r\n"u8.CopyTo(chunk.AsSpan(written));
        buffer.CopyTo(chunk.AsMemory(written + 2));
        "\r\n"u8.CopyTo(chunk.AsSpan(chunk.Length - 2));
        await target.WriteAsync(chunk, cancellationToken);
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => target.FlushAsync(cancellationToken);

    /// <summary>Ends the body.</summary>
    /// <param name="trailers">The endpoint's trailers; null when it sent none.</param>
    public async ValueTask EndAsync(FieldList? trailers, CancellationToken cancel)
    {
        var end = new StringBuilder("0\r\n");
        for (var i = 0; i < trailers?.Count; i++)
        {
            var (name, value) = trailers[i];
            if (HeaderRules.OfResponse(name) == HeaderAction.Pass && HeaderRules.IsTrailer(name))
            {
                end.Append(name).Append(": ").Append(value).Append("\r\n");
            }
        }
        await target.WriteAsync(Encoding.Latin1.GetBytes(end.Append("\r\n").ToString()), cancel);
    }
}
