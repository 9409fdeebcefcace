namespace Kedge.Host.Debug;

/// <summary>A style sheet or script of the pages. Open to everyone: it reveals nothing.</summary>
public sealed class AssetPage(string path, string contentType, string content) : IDebugPage
{
    public string Path => path;

    public bool IsOpen => true;

    public Task AnswerAsync(HttpContext context) =>
        PageResponse.WriteAsync(context, StatusCodes.Status200OK, contentType, content);
}
