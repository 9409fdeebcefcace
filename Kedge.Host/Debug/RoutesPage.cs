using System.Globalization;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>All routes: <c>?q=</c> words that a route must contain, <c>page=</c> from 1.</summary>
public sealed class RoutesPage(DebugFacts facts) : IDebugPage
{
    private const int PageLength = 100;

    public string Path => "/debug/routes";

    public Task AnswerAsync(HttpContext context) =>
        PageResponse.ViewAsync(context, View(context.Request.Query), RoutesHtml.render);

    private RoutesView View(IQueryCollection query)
    {
        var text = query["q"].ToString();
        var words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        RouteView[] all = [.. RouteViews.Of(facts.Router.Serving.Routes)];
        var found = words.Length == 0 ? all : Array.FindAll(all, route => HasAll(route, words));
        var pages = Math.Max(1, (found.Length + PageLength - 1) / PageLength);
        _ = int.TryParse(query["page"], CultureInfo.InvariantCulture, out var page);
        page = Math.Clamp(page, 1, pages);
        return new RoutesView(
            facts.Server, text, page, pages, found.Length, all.Length,
            [.. found.Skip((page - 1) * PageLength).Take(PageLength)]);
    }

    private static bool HasAll(RouteView route, string[] words) =>
        Array.TrueForAll(words, word =>
            Has(route.Rule, word) || Has(route.Backend, word) || Has(route.Demands, word) || Has(route.Owner, word)
            || Has(route.Protocol, word));

    private static bool Has(string text, string word) => text.Contains(word, StringComparison.OrdinalIgnoreCase);
}
