using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

/// <summary>Why a stream failed, and what is known about its request.</summary>
/// <param name="Code">Of the RST_STREAM or GOAWAY that the peer sent; null when it sent none.</param>
internal sealed record StreamFailure(
    FailureKind Kind, SentState Sent, string Message, Http2ErrorCode? Code = null, Exception? Cause = null);
