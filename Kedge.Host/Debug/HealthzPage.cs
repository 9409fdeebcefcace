namespace Kedge.Host.Debug;

/// <summary>Whether the process is well: 503 from the moment it drains.</summary>
public sealed class HealthzPage(ServerHealth health) : IDebugPage
{
    public string Path => "/_healthz";
    public bool IsOpen => true;

    public Task AnswerAsync(HttpContext context) => health.IsDraining
        ? PageResponse.TextAsync(context, StatusCodes.Status503ServiceUnavailable, "kedge is draining")
        : PageResponse.TextAsync(context, StatusCodes.Status200OK, "kedge isok");
}
