using Kedge.Host.Flags;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>
/// Every flag with its value and default. Secrets are masked. JSON unless the caller asks for HTML, by <c>Accept</c> or
/// by <c>?format=html</c>; <c>?only_changed</c> leaves out flags that the command line does not set.
/// </summary>
public sealed class FlagsPage(DebugFacts facts, FlagValues flags) : IDebugPage
{
    public string Path => "/debug/flagz";

    public Task AnswerAsync(HttpContext context)
    {
        var query = context.Request.Query;
        var format = query["format"].ToString();
        if (format is not ("" or "json" or "html"))
        {
            return PageResponse.TextAsync(
                context, StatusCodes.Status400BadRequest, "format must be json or html");
        }
        var isHtml = format.Length > 0 ? format == "html" : PageResponse.Accepts(context, "text/html");
        var onlyChanged = PageResponse.IsOn(query, "only_changed");
        var view = new FlagsView(
            facts.Server,
            [.. FlagCatalogue.All.Where(flag => !onlyChanged || flags.IsGiven(flag)).Select(ViewOf)]);
        context.Response.Headers.Vary = "Accept";
        return isHtml ? PageResponse.HtmlAsync(context, FlagsHtml.render(view)) : PageResponse.DataAsync(context, view);
    }

    private FlagView ViewOf(Flag flag) => new(
        flag.Group.ToString(),
        flag.Name,
        flags.TextOf(flag),
        flag.DefaultText,
        flags.IsGiven(flag),
        flag.Help);
}
