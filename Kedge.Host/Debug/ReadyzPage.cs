namespace Kedge.Host.Debug;

/// <summary>Readiness: whether the server accepts traffic.</summary>
public sealed class ReadyzPage(ServerHealth health) : IDebugPage
{
    public string Path => "/_readyz";

    public bool IsOpen => true;

    public Task AnswerAsync(HttpContext context)
    {
        var (status, text) = health switch
        {
            { IsReady: true } => (StatusCodes.Status200OK, "kedge is ready"),
            { IsDraining: true } => (StatusCodes.Status503ServiceUnavailable, "kedge is draining"),
            { WaitsFor: { Length: > 0 } reason } =>
                (StatusCodes.Status503ServiceUnavailable, $"kedge is starting: {reason}"),
            _ => (StatusCodes.Status503ServiceUnavailable, "kedge is starting"),
        };
        return PageResponse.TextAsync(context, status, text);
    }
}
