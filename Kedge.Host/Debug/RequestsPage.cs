using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>The latest requests, with their timings.</summary>
public sealed class RequestsPage(DebugFacts facts) : IDebugPage
{
    public string Path => "/debug/requests";

    public Task AnswerAsync(HttpContext context) => PageResponse.ViewAsync(
        context,
        new RequestsView(facts.Server, [.. facts.Telemetry.Requests.Latest().Select(RequestViews.Of)]),
        RequestsHtml.render);
}
