namespace Kedge.Host.Http;

/// <summary>
/// Thrown to the server when a response has started and cannot be completed. Over HTTP/1.1, the server then sends what
/// it has and closes the connection without ending the body, so that the caller notices. (An abort would also discard
/// what has not been sent yet.) The request has already been logged, so log outputs drop the server's report of this
/// exception.
/// </summary>
internal sealed class ResponseCutException() : IOException("the response was cut");
