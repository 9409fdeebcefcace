using Kedge.Wire.Upstream;

namespace Kedge.Wire.Http2;

// The rules that a response must follow (RFC 9113, section 8.1), and how a stream ends.
internal sealed partial class Http2Session
{
    private void TakeHead(Http2StreamState stream, bool endsStream)
    {
        var problem = ResponseHead.Read(_fields.Fields, out var status, out var contentLength);
        if (problem is null && status == 101)
        {
            problem = "its status is 101, which HTTP/2 does not have";
        }
        if (problem is null && status < 200)
        {
            if (!endsStream && ++stream.Informational <= _options.MaxInformational)
            {
                Idle();
                stream.OnInformational(status, ResponseHead.ToList(_fields.Fields));
                return;
            }
            if (!endsStream)
            {
                // The frames that follow would soon end the connection anyway, and the next request on it.
                throw new Violation(
                    Http2ErrorCode.EnhanceYourCalm, "a response has too many informational responses before it");
            }
            problem = "it ends with an informational response";
        }
        stream.DropsContent = stream.IsHead || status is 204 or 205 or 304;
        if (problem is null && endsStream && contentLength > 0 && !stream.DropsContent)
        {
            problem = "its content is shorter than its Content-Length says";
        }
        if (problem is not null)
        {
            Refuse(stream, problem);
            return;
        }
        stream.HasHead = true;
        stream.ContentLeft = stream.DropsContent ? -1 : contentLength;
        var fields = ResponseHead.ToList(_fields.Fields);
        if (endsStream)
        {
            stream.IsRemoteClosed = true;
        }
        stream.OnHead(status, fields, stream.ContentLeft < 0 ? null : contentLength, endsStream);
        if (endsStream)
        {
            CloseRemote(stream);
        }
    }

    private void TakeTrailers(Http2StreamState stream, bool endsStream)
    {
        var problem = endsStream ? ResponseHead.CheckTrailers(_fields.Fields) : "its trailer section does not end it";
        if (problem is null)
        {
            EndRemote(stream, ResponseHead.ToTrailers(_fields.Fields));
        }
        else
        {
            Refuse(stream, problem);
        }
    }

    private void EndRemote(Http2StreamState stream, FieldList? trailers)
    {
        if (stream.ContentLeft > 0)
        {
            Refuse(stream, "its content is shorter than its Content-Length says");
            return;
        }
        stream.IsRemoteClosed = true;
        stream.OnEnd(trailers);
        CloseRemote(stream);
    }

    private void CloseRemote(Http2StreamState stream)
    {
        if (stream.IsLocalClosed)
        {
            Remove(stream);
        }
    }

    /// <summary>Treats the response as complete, although the peer sends more of it.</summary>
    private void AbandonResponse(Http2StreamState stream)
    {
        stream.IsRemoteClosed = true;
        stream.OnEnd(null);
        AbandonRequest(stream, Http2ErrorCode.NoError);
    }

    /// <summary>Resets a stream whose response is complete.</summary>
    private void AbandonRequest(Http2StreamState stream, Http2ErrorCode code)
    {
        Reset(stream, code);
        if (!stream.IsLocalClosed)
        {
            stream.OnRequestUnwanted();
        }
    }

    /// <summary>Ends a stream whose response is malformed (RFC 9113, section 8.1.1).</summary>
    private void Refuse(Http2StreamState stream, string problem) =>
        FailStream(
            stream,
            FailureKind.MalformedResponse,
            Http2ErrorCode.ProtocolError,
            $"the response is malformed: {problem}");

    private void FailStream(Http2StreamState stream, FailureKind kind, Http2ErrorCode code, string message)
    {
        Reset(stream, code);
        stream.OnFailed(new StreamFailure(kind, SentState.MayHaveBeenProcessed, message));
    }
}
