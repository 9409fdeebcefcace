namespace Kedge.Host.Debug;

/// <summary>Liveness: 200, and 503 once the server drains.</summary>
public sealed class HealthzPage(ServerHealth health) : IDebugPage
{
    public string Path => "/_healthz";

    public bool IsOpen => true;

    public Task AnswerAsync(HttpContext context) => health.IsDraining
        ? PageResponse.TextAsync(context, StatusCodes.Status503ServiceUnavailable, "kedge is draining")
        : PageResponse.TextAsync(context, StatusCodes.Status200OK, "kedge isok");
}
