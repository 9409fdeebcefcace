namespace Kedge.Host.Debug;

/// <summary>What there is on the debug port.</summary>
public sealed class IndexPage(IReadOnlyList<IDebugPage> pages) : IDebugPage
{
    public string Path => "/";

    public Task AnswerAsync(HttpContext context) =>
        PageResponse.TextAsync(context, StatusCodes.Status200OK, string.Join('\n', pages.Where(page => page is not AssetPage).Select(page => page.Path)));
}
