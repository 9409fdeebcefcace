namespace Kedge.Host.Debug;

/// <summary>Whether traffic may be sent here.</summary>
public sealed class ReadyzPage(ServerHealth health) : IDebugPage
{
    public string Path => "/_readyz";
    public bool IsOpen => true;

    public Task AnswerAsync(HttpContext context) => health.IsReady
        ? PageResponse.TextAsync(context, StatusCodes.Status200OK, "kedge is ready")
        : PageResponse.TextAsync(context, StatusCodes.Status503ServiceUnavailable, health.IsDraining ? "kedge is draining" : "kedge is starting");
}
