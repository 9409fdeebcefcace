namespace Kedge.Host.Debug;

/// <summary>The list of pages.</summary>
public sealed class IndexPage(IReadOnlyList<IDebugPage> pages) : IDebugPage
{
    public string Path => "/";

    public Task AnswerAsync(HttpContext context)
    {
        var paths = pages.Where(page => page is not AssetPage).Select(page => page.Path);
        return PageResponse.TextAsync(context, StatusCodes.Status200OK, string.Join('\n', paths));
    }
}
