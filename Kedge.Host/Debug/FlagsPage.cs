using Kedge.Host.Flags;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>Every flag with its value and default. Secrets are masked.</summary>
public sealed class FlagsPage(DebugFacts facts, FlagValues flags) : IDebugPage
{
    public string Path => "/debug/flagz";

    public Task AnswerAsync(HttpContext context) => PageResponse.ViewAsync(
        context, new FlagsView(facts.Server, [.. FlagCatalogue.All.Select(ViewOf)]), FlagsHtml.render);

    private FlagView ViewOf(Flag flag) => new(
        flag.Group.ToString(),
        flag.Name,
        flags.TextOf(flag),
        flag.DefaultText,
        flags.IsGiven(flag),
        flag.Help);
}
